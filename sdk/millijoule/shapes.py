"""Shapes of a program's tensors for the sizes that a run has.

Inputs tell the sizes of dimensions: every axis of an input that varies is one dimension. Outputs
and taps follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .bundle import Kernel, KernelOutput, Manifest, TensorSpec
from .bundle.checks import count_of, extents_of
from .errors import UsageError
from .sizes import Dim, Extent, Size

__all__ = ["Shapes", "at_sizes", "chosen_sizes", "resized", "size_text"]


class Shapes:
    """The shapes of one manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.dims: dict[str, Dim] = {dim.name: dim for dim in manifest.dims}
        self._inputs = manifest.inputs
        self._places = {spec.name: _places(spec, self.dims) for spec in manifest.inputs}
        self._known: dict[str, tuple[Extent, ...]] = {}

    def places(self, spec: TensorSpec) -> dict[int, Dim]:
        """Axes of an input that vary, each with its dimension."""
        return self._places[spec.name]

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

    def of_inputs(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """`sizes`, told by arrays by name.

        Raises:
            UsageError: as `sizes` does, or an input is missing.
        """
        for spec in self._inputs:
            if spec.name not in arrays:
                names = ", ".join(s.name for s in self._inputs)
                raise UsageError(f"input {spec.name!r} is missing; inputs: {names}")
        return self.sizes([arrays[spec.name] for spec in self._inputs])

    def of(self, spec: TensorSpec | KernelOutput, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of a tensor for ``sizes``."""
        if spec.sizes is None:
            return spec.shape
        key = "\0".join(spec.sizes)
        if key not in self._known:
            self._known[key] = extents_of(spec, self.dims)
        return tuple(_at(extent, sizes) for extent in self._known[key])


def _places(spec: TensorSpec, dims: Mapping[str, Dim]) -> dict[int, Dim]:
    extents = enumerate(extents_of(spec, dims))
    return {axis: e.dim for axis, e in extents if isinstance(e, Size) and e.dim is not None}


def _at(extent: Extent, sizes: Mapping[str, int]) -> int:
    return extent.at(sizes) if isinstance(extent, Size) else extent


def at_sizes(manifest: Manifest, sizes: Mapping[str, int]) -> Manifest:
    """``manifest`` with the kernels' counts and the shapes of their outputs for ``sizes``.

    ``sizes``: of every dimension, by name.
    """
    if not manifest.dims:
        return manifest
    shapes = Shapes(manifest)

    def kernel_at(kernel: Kernel) -> Kernel:
        counts = {n: count_of(kernel, n, text, shapes.dims) for n, text in kernel.sizes.items()}
        known: dict[str, Any] = {n: _at(count, sizes) for n, count in counts.items()}
        outputs = tuple(
            replace(output, shape=shapes.of(output, sizes), sizes=None) for output in kernel.outputs
        )
        return replace(kernel, outputs=outputs, sizes={}, **known)

    return replace(manifest, kernels=tuple(map(kernel_at, manifest.kernels)))


def chosen_sizes(
    manifest: Manifest, given: Mapping[str, int], usual: Mapping[str, int]
) -> dict[str, int]:
    """A size of every dimension: the ``given`` ones, the rest as ``usual``.

    Raises:
        UsageError: a name that is no dimension, or a size out of bounds.
    """
    dims = {dim.name: dim for dim in manifest.dims}
    for name, size in given.items():
        if name not in dims:
            valid = ", ".join(map(str, manifest.dims)) or "none, its sizes are fixed"
            raise UsageError(f"[size] {name!r} is no dimension of the bundle, which has {valid}")
        if isinstance(size, bool) or not isinstance(size, int):
            raise UsageError(f"[size] {name} must be an integer, but is {size!r}")
        if not dims[name].min <= size <= dims[name].max:
            raise UsageError(
                f"[size] {name} must be {dims[name].min} to {dims[name].max}, but is {size}"
            )
    return {name: given.get(name, usual[name]) for name in dims}


def resized(
    manifest: Manifest, arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Inputs by name, cut or repeated from their beginning to ``sizes`` along axes that vary."""
    shapes, found = Shapes(manifest), dict(arrays)
    for spec in manifest.inputs:
        for axis, dim in shapes.places(spec).items():
            wanted, array = sizes[dim.name], found[spec.name]
            if array.shape[axis] != wanted:
                found[spec.name] = array.take(range(wanted), axis=axis, mode="wrap")
    return found


def size_text(sizes: Mapping[str, int]) -> str:
    """``seq=128, batch=2``."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())
