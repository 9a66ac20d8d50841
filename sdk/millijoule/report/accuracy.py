"""What quantization cost: int8 against float, as it was found when the bundle was built.

The record is the manifest's ``quantization``, whose only checked field is ``scheme``: whatever else
is missing or of another kind is left out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .format import digits, percent
from .table import Table

__all__ = ["accuracy_table", "quantized_layers"]

_DECISIONS = (
    ("agreement", "same decision as float"),
    ("float_accuracy", "accuracy in float"),
    ("int8_accuracy", "accuracy in int8"),
)


def accuracy_table(record: Mapping[str, Any]) -> Table:
    """Scheme, calibration, decisions and errors of the outputs, row by row."""
    rows = [("formats", str(record["scheme"])), *_calibration(_mapping(record.get("calibration")))]
    accuracy = _mapping(record.get("accuracy"))
    for key, title in _DECISIONS:
        if _is_number(accuracy.get(key)):
            rows.append((title, percent(accuracy[key])))
    for name, errors in _mapping(accuracy.get("outputs")).items():
        rows += _errors(str(name), _mapping(errors))
    kept = record.get("float_layers")
    if isinstance(kept, list) and kept:
        rows.append(("layers left in float", ", ".join(map(str, kept))))
    for name, bits in _mapping(record.get("fraction_bits")).items():
        rows.append((f"potentials of {name}", f"{bits} fraction bits"))
    return Table("int8 against float (measured when built)", ("", "value"), tuple(rows))


def quantized_layers(record: Mapping[str, Any]) -> Table:
    """Every quantized layer: signal to noise of its weights, worth of a unit of its input."""
    layers = record.get("layers")
    entries = [_mapping(entry) for entry in layers] if isinstance(layers, list) else []
    rows = tuple(
        (
            str(entry.get("layer", "")),
            str(entry.get("op", "")),
            _shown(entry.get("sqnr_db"), " dB", "exact"),
            _shown(entry.get("input_scale"), "", "spikes"),
        )
        for entry in entries
    )
    columns = ("layer", "operator", "weights: signal to noise", "unit of int8 input")
    return Table("Quantized layers", columns, rows)


def _calibration(calibration: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if calibration:
        labelled = ", labelled" if calibration.get("labelled") else ""
        count, source = calibration.get("samples", "?"), calibration.get("source", "unknown source")
        yield "calibration", f"{count} samples{labelled}: {source}"


def _errors(name: str, errors: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parts = [
        f"{title} {digits(errors[key])}"
        for key, title in (
            ("rms_error", "rms"),
            ("max_error", "largest"),
            ("rms", "of values of rms"),
        )
        if _is_number(errors.get(key))
    ]
    if parts:
        yield f"error of {name}", ", ".join(parts)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any, unit: str, absent: str) -> str:
    return f"{digits(value)}{unit}" if _is_number(value) else absent
