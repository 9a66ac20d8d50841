"""Checking the arrays that a user hands to a program.

Accepted are arrays of the exact dtype, and conversions within one kind: floating point to floating
point (rounded; overflow is refused) and integer or boolean to integer (if every value fits). A
change of kind, such as integers for a float input, is refused: it usually means the wrong array.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .bundle import Manifest, TensorSpec
from .errors import UsageError
from .shapes import Shapes

__all__ = ["check_names", "complete", "run_inputs", "to_array"]


def run_inputs(manifest: Manifest) -> list[tuple[TensorSpec, list[int | None]]]:
    """What ``Session.run`` takes: each input with its shape, None for sizes that are free.

    Rows are free; so is the number of steps N of a streaming bundle, which takes [B, N, F…], and
    every size that varies (`shapes` knows its bounds).
    """
    shapes = Shapes(manifest)
    if manifest.streaming is not None:
        name = manifest.streaming.sequence_input
        spec = next(spec for spec in manifest.inputs if spec.name == name)
        return [(spec, [None, None, *spec.shape[1:]])]
    whole = []
    for spec in manifest.inputs:
        shape: list[int | None] = list(spec.shape)
        if spec.batch_axis is not None:
            shape[spec.batch_axis] = None
        for axis in shapes.places(spec):
            shape[axis] = None
        whole.append((spec, shape))
    return whole


def check_names(given: Mapping[str, Any], expected: Collection[str]) -> None:
    """Raise :class:`UsageError` unless the keys of ``given`` are just the ``expected`` names."""
    if not isinstance(given, Mapping):
        raise UsageError(
            f"inputs must be a dict of arrays by name ({', '.join(expected)}), but received"
            f" {type(given).__name__}"
        )
    for name in given:
        if name not in expected:
            raise UsageError(f"unknown input {name!r}; inputs: {', '.join(expected)}")
    for name in expected:
        if name not in given:
            raise UsageError(f"input {name!r} is missing; inputs: {', '.join(expected)}")


def complete(manifest: Manifest, given: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """``given`` with inputs that may be left out, and short rows filled up with zeros.

    Returns the length that rows had, None if they were whole. What breaks a rule is left as it is,
    for `to_array` to say so.
    """
    rows = {spec.name: spec for spec in manifest.inputs if spec.pad_axis is not None}
    optional = [s for s in manifest.inputs if s.omitted is not None and s.name not in given]
    if not isinstance(given, Mapping) or not (rows or optional):
        return dict(given) if isinstance(given, Mapping) else given, None
    arrays = {name: np.asarray(value) for name, value in given.items() if name in rows}
    model = next(iter(arrays.values()), None)
    if model is None and manifest.dims:  # left out, an input is as large as the others
        model = next((np.asarray(value) for value in given.values()), None)
    filled: dict[str, Any] = dict(given)
    for spec in optional:
        fits = model is not None and model.ndim == len(spec.shape)
        shape = model.shape if fits and model is not None else spec.shape
        arrays[spec.name] = filled[spec.name] = np.full(shape, spec.omitted, spec.dtype)
    length = None
    for name, padded in rows.items():
        array, axis = arrays.get(name), padded.pad_axis or 0
        if array is None or array.ndim != len(padded.shape):
            continue
        missing = padded.shape[axis] - array.shape[axis]
        if 0 < missing < padded.shape[axis]:
            length = array.shape[axis]
            filled[name] = np.pad(array, [(0, missing * (i == axis)) for i in range(array.ndim)])
    return filled, length


def to_array(spec: TensorSpec, value: Any, shape: Sequence[int | None]) -> np.ndarray:
    """``value`` as a C-contiguous array of the dtype of ``spec`` and of ``shape``.

    Args:
        spec: gives name and dtype.
        value: anything that NumPy takes for an array.
        shape: expected size of each axis; None stands for any size from 1.

    Raises:
        UsageError: wrong shape or kind, a value that does not fit, NaN or infinity.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged nested lists
        raise UsageError(f"[{spec.name}] must be an array, but {error}") from None
    _check_kind(spec, array)
    _check_shape(spec, array, shape)
    if array.dtype.kind == "f":
        if array.dtype != spec.dtype:
            with np.errstate(over="ignore"):  # what overflows is infinite, and refused below
                array = array.astype(spec.dtype)
        _check_finite(spec, array)
    elif array.dtype != spec.dtype:
        _check_range(spec, array)
    if spec.limit is not None:
        _check_limit(spec, array, spec.limit)
    return np.ascontiguousarray(array, spec.dtype)


def _check_limit(spec: TensorSpec, array: np.ndarray, limit: int) -> None:
    """Values index a table."""
    for value in (array.min(), array.max()):
        if not 0 <= value < limit:
            raise UsageError(f"[{spec.name}] must be from 0 to {limit - 1}, but contains {value}")


def _check_kind(spec: TensorSpec, array: np.ndarray) -> None:
    wanted = "f" if np.dtype(spec.dtype).kind == "f" else "biu"
    if array.dtype.kind not in wanted:
        raise UsageError(
            f"[{spec.name}] must be {spec.dtype}, but received {array.dtype}; convert it with"
            f" .astype({spec.dtype!r}) if that is what you mean"
        )


def _check_shape(spec: TensorSpec, array: np.ndarray, shape: Sequence[int | None]) -> None:
    fits = array.ndim == len(shape) and all(
        size == want or (want is None and size > 0)
        for size, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise UsageError(
            f"[{spec.name}] must have shape [{wanted}], but received {list(array.shape)}"
        )


def _check_finite(spec: TensorSpec, array: np.ndarray) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(int(i) for i in np.unravel_index(np.argmin(finite), array.shape))
        raise UsageError(
            f"[{spec.name}] must be finite in {spec.dtype}, but is {array[index]} at index"
            f" {list(index)}"
        )


def _check_range(spec: TensorSpec, array: np.ndarray) -> None:
    if array.dtype.kind == "b" or array.size == 0:
        return
    limits = np.iinfo(spec.dtype)
    for value in (int(array.min()), int(array.max())):
        if not limits.min <= value <= limits.max:
            raise UsageError(
                f"[{spec.name}] must fit {spec.dtype} ({limits.min} to {limits.max}), but contains"
                f" {value}"
            )
