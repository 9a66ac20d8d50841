"""Shapes of a program's tensors for the sizes that a run has.

Inputs tell the sizes of dimensions: every axis of an input that varies is one dimension. Outputs
and taps follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .bundle import KernelOutput, Manifest, TensorSpec
from .bundle.checks import extents_of
from .errors import UsageError
from .sizes import Dim, Extent, Size

__all__ = ["Shapes"]


class Shapes:
    """The shapes of one manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.dims: dict[str, Dim] = {dim.name: dim for dim in manifest.dims}
        self._inputs = manifest.inputs
        self._known: dict[str, tuple[Extent, ...]] = {}

    def places(self, spec: TensorSpec) -> dict[int, Dim]:
        """Axes of an input that vary, each with its dimension."""
        extents = enumerate(extents_of(spec, self.dims))
        return {axis: e.dim for axis, e in extents if isinstance(e, Size) and e.dim is not None}

    def batch_dim(self) -> Dim | None:
        """The dimension along which samples lie, if that varies."""
        for spec in self._inputs:
            if spec.batch_axis is not None:
                return self.places(spec).get(spec.batch_axis)
        return None

    def sizes(self, arrays: Sequence[np.ndarray]) -> dict[str, int]:
        """Sizes of all dimensions, told by ``arrays`` in the order of the inputs.

        Raises:
            UsageError: a size out of bounds, or two sizes of one dimension.
        """
        found: dict[str, int] = {}
        for spec, array in zip(self._inputs, arrays, strict=False):
            for axis, dim in self.places(spec).items():
                size = array.shape[axis] if axis < array.ndim else 0
                if not dim.min <= size <= dim.max:
                    raise UsageError(
                        f"[{spec.name}] axis {axis} ({dim.name}) must have {dim.min} to {dim.max}"
                        f" elements, but received {size}"
                    )
                if found.setdefault(dim.name, size) != size:
                    raise UsageError(
                        f"[{spec.name}] axis {axis} ({dim.name}) must have the {found[dim.name]}"
                        f" elements that another input has, but received {size}"
                    )
        return found

    def of(self, spec: TensorSpec | KernelOutput, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of a tensor for ``sizes``."""
        if spec.sizes is None:
            return spec.shape
        key = "\0".join(spec.sizes)
        if key not in self._known:
            self._known[key] = extents_of(spec, self.dims)
        return tuple(e.at(sizes) if isinstance(e, Size) else e for e in self._known[key])
