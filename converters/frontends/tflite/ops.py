"""What is refused of TensorFlow Lite's operators, and the table of all that are imported."""

from __future__ import annotations

from functools import cache

from millijoule.converters.frontends.userfile import missing_package

LABELLED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL")
_VALUES = "its shape or control flow depends on the values of tensors"
_STATE = "variables and tables outlive a call, which a program without states cannot do"
_RANDOM = "it draws random numbers, which no expected output can be given for"
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("IF", "WHILE", "CALL", "STABLEHLO_WHILE", "STABLEHLO_CASE", "UNIQUE", "WHERE",
         "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "DETECTION_POSTPROCESS"),
        _VALUES,
    ),
    **dict.fromkeys(
        ("ASSIGN_VARIABLE", "CALL_ONCE", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT",
         "HASHTABLE_LOOKUP", "HASHTABLE_SIZE", "READ_VARIABLE", "VAR_HANDLE"),
        _STATE,
    ),
    **dict.fromkeys(
        ("MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM",
         "STABLEHLO_RNG_BIT_GENERATOR"),
        _RANDOM,
    ),
    **dict.fromkeys(("DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"), "it is no operator"),
    "CUSTOM": "its meaning is not in the file",
}  # fmt: skip


@cache
def known_ops() -> dict[str, str]:
    """Operator → whose conversion it is, "millijoule" or "tvm"; without `REFUSED`.

    DeviceError if the package tflite is missing.
    """
    try:
        from millijoule.converters.frontends.tflite.conversions import CONVERTERS
        from millijoule.converters.frontends.tflite.converter import conversions
    except ImportError as error:
        raise missing_package("tflite") from error
    return {
        name: "millijoule" if name in CONVERTERS else "tvm"
        for name in sorted(conversions())
        if name not in REFUSED
    }
