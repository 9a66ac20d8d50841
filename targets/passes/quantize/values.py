"""What an integer tensor stands for: ``real = integer · scale + bias``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax

from millijoule.converters.importer import tensor_type


@dataclass(frozen=True)
class Plain:
    """A tensor as it is in the float program. ``bound``: largest element of spikes or counts."""

    expr: relax.Expr
    bound: int = 255


@dataclass(frozen=True)
class Affine:
    """An integer tensor whose elements stand for ``integer · scale + bias``.

    ``scale`` and ``bias`` are float64 of the tensor's rank, each axis of length 1 or the tensor's.
    ``bound``: largest magnitude of the integers that any input can cause.
    """

    expr: relax.Expr
    scale: np.ndarray
    bias: np.ndarray
    bound: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tensor_type(self.expr).shape

    @property
    def dtype(self) -> str:
        """Integer type of the tensor."""
        return tensor_type(self.expr).dtype

    @property
    def real_bound(self) -> np.ndarray:
        """Largest magnitude of the real values, per element of scale and bias."""
        return np.abs(self.scale) * self.bound + np.abs(self.bias)

    @property
    def fraction(self) -> int | None:
        """F if the tensor is fixed point of F fraction bits, else None."""
        if self.scale.size != 1 or self.bias.any() or self.scale.item() <= 0:
            return None
        mantissa, exponent = math.frexp(self.scale.item())
        return 1 - exponent if mantissa == 0.5 else None

    @property
    def uniform(self) -> bool:
        """Whether all elements have one scale and no bias."""
        return self.scale.size == 1 and not self.bias.any()


Value = Plain | Affine


def affine(expr: relax.Expr, scale: Any, bias: Any, bound: int) -> Affine:
    """An `Affine` whose scale and bias, of any shape that broadcasts, are brought into form."""
    shape = tensor_type(expr).shape
    return Affine(expr, compact(scale, shape), compact(bias, shape), int(bound))


def fixed_point(expr: relax.Expr, fraction: int, bound: float) -> Affine:
    """A fixed-point tensor; ``bound`` is in units of its last place."""
    return affine(expr, math.ldexp(1.0, -fraction), 0.0, math.ceil(bound))


def compact(array: Any, shape: tuple[int, ...]) -> np.ndarray:
    """``array`` broadcast to ``shape``, then cut to length 1 along every axis where it is equal."""
    full = np.broadcast_to(np.asarray(array, np.float64), shape)
    for axis, extent in enumerate(shape):
        first = full.take([0], axis) if extent else full
        if extent > 1 and bool((full == first).all()):
            full = first
    return np.ascontiguousarray(full)


def moved(value: Affine, expr: relax.Expr, move: Any) -> Affine:
    """``expr`` holds the elements of ``value`` rearranged as ``move(array)`` rearranges them."""
    scale, bias = (move(np.broadcast_to(a, value.shape)) for a in (value.scale, value.bias))
    return affine(expr, scale, bias, value.bound)


def scaled(value: Affine, factor: Any) -> Affine:
    """The same integers standing for ``factor`` times as much."""
    scale, bias = (compact(a * factor, value.shape) for a in (value.scale, value.bias))
    return replace(value, scale=scale, bias=bias)


def shifted(value: Affine, offset: Any) -> Affine:
    """The same integers standing for ``offset`` more."""
    return replace(value, bias=compact(value.bias + offset, value.shape))


def channels(array: np.ndarray, width: int) -> np.ndarray | None:
    """``array`` as one value per channel of the last axis, or None if other axes matter."""
    if array.ndim and array.size not in (1, array.shape[-1]):
        return None
    return np.broadcast_to(array.reshape(-1), (width,)).astype(np.float64)
