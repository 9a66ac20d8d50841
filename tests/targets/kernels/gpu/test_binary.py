"""Binary layers for GPUs: exact integers and maps, over tails of words, rows and blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fixtures.bit_kernels import signs
from fixtures.gpu import SMS, call_of, check
from fixtures.operands import attention_operands, normal, with_zeros
from millijoule.converters.ops.binary_attention import binary_attention_reference
from millijoule.converters.ops.binary_embedding.reference import binary_embedding_reference
from millijoule.converters.ops.binary_linear import binary_linear_reference

# rows, inputs, outputs: one thread per row up to 8 rows, blocks of 32 × 64 beyond
SHAPES = [(1, 1, 1), (8, 31, 65), (9, 64, 63), (33, 300, 130)]
RULES = [("bool", True, 33), ("threshold", False, 100), ("softmax", True, 130), ("bool", False, 7)]


def test_signs(tmp_path: Path) -> None:
    calls = {}
    for shape in SHAPES:
        for zeros in (0.0, 0.1):
            rows, inputs, outputs = shape
            x, w = with_zeros((rows, inputs), 3, zeros), signs((outputs, inputs), zeros)
            if zeros:
                x[0], w[0] = 0, 0  # a row and an output of nothing but zeros
            arrays = [x, w, np.ones(1, np.float32), np.zeros(outputs, np.float32)]
            attrs = {"activations": "sign", "ternary": bool(zeros)}
            name = f"{'x'.join(map(str, shape))}-{zeros}"
            expected = binary_linear_reference(*arrays)
            calls[name] = call_of("binary_linear", attrs, arrays, expected)
    check(tmp_path, calls)


def test_scale_per_output(tmp_path: Path) -> None:
    arrays = [with_zeros((2, 5, 70), 3, 0.0), signs((66, 70)), normal((66,), 5), normal((66,), 6)]
    expected = binary_linear_reference(*arrays)
    call = call_of("binary_linear", {"activations": "sign"}, arrays, expected, 1e-5)
    check(tmp_path, {"scaled": call}, SMS)


def test_attention(tmp_path: Path) -> None:
    calls = {}
    for rule, masked, steps in RULES:
        named = attention_operands(rule, steps, 2, 40, masked=masked)
        expected = binary_attention_reference(**named, rule=rule, heads=2)
        attrs = {"rule": rule, "heads": 2, "maps": True}
        # without the softmax rule's scales, contexts are integers
        tolerance = 1e-5 if rule == "softmax" else 0
        arrays = list(named.values())
        name = f"{rule}-{steps}"
        calls[name] = call_of("binary_attention", attrs, arrays, expected, tolerance)
    check(tmp_path, calls)


def test_embedding(tmp_path: Path) -> None:
    ids = np.array([[0, 4, 9], [-3, 22, 1]], np.int64)  # some outside of the table
    calls = {}
    for width, zeros in ((1, 0.0), (129, 0.0), (70, 0.1)):
        arrays = [ids, signs((10, width), zeros), normal((10,))]
        expected = binary_embedding_reference(*arrays)
        attrs = {"ternary": bool(zeros)}
        calls[f"width-{width}"] = call_of("binary_embedding", attrs, arrays, expected)
    check(tmp_path, calls)
