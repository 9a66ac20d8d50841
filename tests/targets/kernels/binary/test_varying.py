"""Kernels of bits for numbers of rows and tokens that vary: one function for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from fixtures.bit_kernels import BINARY_ISAS, isa_name, rotated, signs
from fixtures.kernels import call, run_scheduled, types_of
from fixtures.operands import attention_operands, normal, with_zeros
from millijoule.converters.ops import VOCABULARY, TensorType
from millijoule.converters.ops.binary_attention import binary_attention_reference
from millijoule.converters.ops.binary_embedding import binary_embedding_reference
from millijoule.sizes import Dim, Size
from millijoule.targets.kernels import CPU_KERNELS, form
from millijoule.targets.target import Isa

LONGEST = 70
STEPS, BATCH = Size.of(Dim("steps", 1, LONGEST)), Size.of(Dim("batch", 1, 3))
LENGTHS = (1, 15, 16, 17, 31, 32, 33, 63, 64, 65, LONGEST)
RULES = [("bool", True), ("threshold", False), ("softmax", True), ("bool", False)]


class Varying:
    """The scheduled kernel of ``name`` for operands of ``types``, in which sizes vary."""

    def __init__(
        self, name: str, attrs: Mapping[str, Any], types: Sequence[TensorType], isa: Isa
    ) -> None:
        self._name, self._attrs, self._isa = name, attrs, isa
        self._form = CPU_KERNELS[name](attrs, types, isa)

    def run(self, arrays: Sequence[np.ndarray], **sizes: int) -> list[np.ndarray]:
        """Results for operands of ``sizes``."""
        scratch = tuple(
            TensorType(tuple(_at(d, sizes) for d in t.shape), t.dtype) for t in self._form.scratch
        )
        built = form.KernelForm(self._form.func, scratch, self._form.packed)
        results = VOCABULARY[self._name].results(self._attrs, types_of(arrays))
        return call(built, arrays, results, self._isa)


def _at(extent: Any, sizes: Mapping[str, int]) -> int:
    return extent.at(sizes) if isinstance(extent, Size) else extent


def attention(rule: str, masked: bool, size: int, isa: Isa) -> Varying:
    """Attention of two heads over any number of rows and tokens."""
    varying = {(2, LONGEST): (BATCH, STEPS)}
    named = attention_operands(rule, LONGEST, 2, size, masked=masked)
    types = [
        TensorType((*varying.get(t.shape[:2], t.shape[:2]), *t.shape[2:]), t.dtype)
        for t in types_of(list(named.values()))
    ]
    return Varying("binary_attention", {"rule": rule, "heads": 2, "maps": True}, types, isa)


@pytest.mark.parametrize(
    ("case", "isa"), rotated([(*rule, 15 + 17 * (i % 2)) for i, rule in enumerate(RULES)])
)
def test_attention(case: tuple[str, bool, int], isa: Isa) -> None:
    rule, masked, size = case
    kernel = attention(rule, masked, size, isa)
    for steps in LENGTHS:
        named = attention_operands(rule, steps, 2, size, masked=masked)
        context, attended = binary_attention_reference(**named, rule=rule, heads=2)
        got, found = kernel.run(list(named.values()), steps=steps, batch=2)
        np.testing.assert_array_equal(found, attended, str(steps))
        # without the softmax rule's scales, contexts are integers
        error = 1e-5 if rule == "softmax" else 0
        np.testing.assert_allclose(got, context, rtol=0, atol=error, err_msg=str(steps))


@pytest.mark.parametrize("rule", ["bool", "softmax"])
def test_the_bits_are_those_of_one_size(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parallel and alone, for rows and for one of them."""
    isa, serial = BINARY_ISAS[0], attention(rule, True, 32, BINARY_ISAS[0])
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    parallel = attention(rule, True, 32, isa)
    attrs = {"rule": rule, "heads": 2, "maps": True}
    for steps in (17, 64):
        arrays = list(attention_operands(rule, steps, 2, 32).values())
        one = [a[:1] if a.ndim > 1 else a for a in arrays]
        fixed = run_scheduled("binary_attention", attrs, arrays, isa)
        for kernel in (serial, parallel):
            for same, want in zip(kernel.run(arrays, steps=steps, batch=2), fixed, strict=True):
                np.testing.assert_array_equal(same, want)
            for row, want in zip(kernel.run(one, steps=steps, batch=1), fixed, strict=True):
                np.testing.assert_array_equal(row, want[:1])


@pytest.mark.parametrize("activations", ["sign", "real"])
@pytest.mark.parametrize("isa", BINARY_ISAS, ids=isa_name)
def test_linear(isa: Isa, activations: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits of a kernel of that many rows, whatever its tiles; every other in parallel."""
    if BINARY_ISAS.index(isa) % 2 == (activations == "real"):
        monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    x, w = with_zeros((LONGEST, 45), 3, 0.1), signs((37, 45))
    others = [w, normal((37,)), normal((37,), 2)]
    attrs = {"activations": activations, "ternary": False}
    types = [TensorType((STEPS, 45), "float32"), *types_of(others)]
    kernel = Varying("binary_linear", attrs, types, isa)
    (fixed,) = run_scheduled("binary_linear", attrs, [x, *others], isa)
    for steps in LENGTHS:
        (y,) = kernel.run([x[:steps], *others], steps=steps)
        np.testing.assert_array_equal(y, fixed[:steps], str(steps))


@pytest.mark.parametrize("isa", BINARY_ISAS[:1], ids=isa_name)
def test_embedding(isa: Isa) -> None:
    w, scale = signs((9, 40), 0.1), np.abs(normal((9,)))
    types = [TensorType((BATCH, STEPS), "int64"), *types_of([w, scale])]
    kernel = Varying("binary_embedding", {"ternary": True}, types, isa)
    for rows, steps in ((1, 1), (3, 17), (2, LONGEST)):
        ids = np.random.default_rng(steps).integers(0, 9, (rows, steps))
        (y,) = kernel.run([ids, w, scale], steps=steps, batch=rows)
        np.testing.assert_array_equal(y, binary_embedding_reference(ids, w, scale))
