"""What every vocabulary op consists of, and the table of all of them.

An op is one folder here: its equation (docstring), a NumPy reference, a torch custom op (eager
form, fake kernel, gradient) and its Relax form: one naive TIR function that *is* the op's meaning.
Targets add scheduled kernels of the same signature in ``targets/kernels/<op>``; a target without
one runs the naive function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from millijoule.sizes import Size, most

Attrs = Mapping[str, Any]


@dataclass(frozen=True)
class TensorType:
    """Shape and dtype of one operand or result.

    A size that varies is a `millijoule.sizes.Size`. It is typed ``int`` because arithmetic on
    shapes is the same for both; what decides something by a size asks for `most` of it.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements; a `Size` if that varies."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the dense tensor, at most."""
        return most(self.size) * np.dtype(self.dtype).itemsize

    @property
    def static(self) -> bool:
        """Whether no size varies."""
        return not any(isinstance(d, Size) for d in self.shape)

    @property
    def largest(self) -> TensorType:
        """The static type with every size at its most."""
        return TensorType(tuple(most(d) for d in self.shape), self.dtype)


def accumulator(dtype: str) -> str:
    """The type in which products with weights of type ``dtype`` are summed."""
    return "int32" if dtype == "int8" else dtype


@dataclass(frozen=True)
class OpCounts:
    """Arithmetic of one call. A spike-driven op counts its *dense* accumulates in ``adds``.

    ``spike_operand``: index of the operand whose spikes decide how many accumulates really happen;
    then the true number is ``adds_per_spike`` times the sum of that operand. ``binary_ops`` counts
    products of one-bit values, each with its accumulation.
    """

    multiplies: int = 0
    adds: int = 0
    binary_ops: int = 0
    spike_operand: int | None = None
    adds_per_spike: float = 0.0


@dataclass(frozen=True)
class VocabularyOp:
    """One op: ``results`` gives result types, ``naive`` its TIR meaning, ``counts`` its arithmetic.

    ``attr_names`` are the op's non-tensor arguments in the order of its torch schema, after the
    tensors. ``naive(attrs, operands)`` returns a PrimFunc over operands then results. ``tap``:
    prefix under which the first result may be read back, e.g. "spikes"; ``second_tap``: the same
    for the second result, if the attributes say that somebody may.
    """

    name: str
    attr_names: tuple[str, ...]
    results: Callable[[Attrs, Sequence[TensorType]], tuple[TensorType, ...]]
    naive: Callable[[Attrs, Sequence[TensorType]], Any]
    counts: Callable[[Attrs, Sequence[TensorType]], OpCounts]
    tap: str | None = None
    second_tap: Callable[[Attrs], str | None] | None = None


VOCABULARY: dict[str, VocabularyOp] = {}


def register(op: VocabularyOp) -> VocabularyOp:
    """Add ``op`` to the table; names are unique."""
    if op.name in VOCABULARY:
        raise ValueError(f"vocabulary op {op.name!r} is registered twice")
    VOCABULARY[op.name] = op
    return op
