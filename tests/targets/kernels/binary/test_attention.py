"""Scheduled ``binary_attention``: exact maps by every rule, from floats and from planes."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.bit_kernels import BINARY_ISAS, isa_name, rotated
from fixtures.kernels import call, run_scheduled, types_of
from fixtures.operands import attention_operands
from millijoule.converters.ops import VOCABULARY
from millijoule.converters.ops.binary_attention import binary_attention_reference
from millijoule.targets.kernels import form
from millijoule.targets.kernels.binary.attention import BitAttention, bit_attention
from millijoule.targets.kernels.binary.planes import planes_of
from millijoule.targets.target import Isa

RULES = [("bool", True), ("threshold", False), ("softmax", True), ("bool", False)]
SHAPES = [(1, 1, 1), (7, 2, 15), (33, 3, 24), (64, 2, 64), (100, 1, 64)]
# steps, heads, head size, rule, masked: each shape with a rule, and the first unit with each rule
CASES = [(*shape, *RULES[i % 4]) for i, shape in enumerate(SHAPES)]
CASES += [(40, 2, 32, *rule) for rule in RULES]


@pytest.mark.parametrize(("case", "isa"), rotated(CASES))
def test_attention(case: tuple[int, int, int, str, bool], isa: Isa) -> None:
    steps, heads, size, rule, masked = case
    named = attention_operands(rule, steps, heads, size, masked=masked)
    context, attended = binary_attention_reference(**named, rule=rule, heads=heads)
    attrs = {"rule": rule, "heads": heads, "maps": True}
    got, found = run_scheduled("binary_attention", attrs, list(named.values()), isa)
    np.testing.assert_array_equal(found, attended)
    # without the softmax rule's scales, contexts are integers
    np.testing.assert_allclose(got, context, rtol=0, atol=1e-5 if rule == "softmax" else 0)


@pytest.mark.parametrize(
    "isa", [i for i in BINARY_ISAS if i.name in ("avx512", "neon")], ids=isa_name
)
def test_planes_and_threads(isa: Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    named = attention_operands("bool", 37, 3, 64, masked=True)
    context, _ = binary_attention_reference(**named, rule="bool", heads=3)
    arrays = [planes_of(named[n], 64) for n in ("q", "k", "v")] + [named["mask"]]
    attrs = {"rule": "bool", "heads": 3, "maps": False}
    operands = types_of(list(named.values()))
    layer = BitAttention.of(attrs, operands, packed=True, emits=("floats", "planes"))
    results = [VOCABULARY["binary_attention"].results(attrs, operands)[0], layer.planes]
    floats, planes = call(
        bit_attention(layer, types_of(arrays), results, isa), arrays, results, isa
    )
    np.testing.assert_array_equal(floats, context)
    np.testing.assert_array_equal(planes, planes_of(context))


def test_long_sequences() -> None:
    """512 tokens, the most that BERT has."""
    named = attention_operands("bool", 512, 1, 64, masked=True)
    _, attended = binary_attention_reference(**named, rule="bool", heads=1)
    attrs = {"rule": "bool", "heads": 1, "maps": True}
    _, found = run_scheduled("binary_attention", attrs, list(named.values()), BINARY_ISAS[0])
    np.testing.assert_array_equal(found, attended)
