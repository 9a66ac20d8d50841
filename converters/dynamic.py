"""Which axes of a model's inputs are dynamic: what users say, checked and in one form.

Users give dimensions by place, as torch.export and ONNX exporters take them,

    dynamic={"input_ids": {1: Dim("seq", 1, 512)}, "mask": {1: Dim("seq", 1, 512)}}

or by name alone, for sources that name their dimensions: ONNX (``dim_param``) and the families.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millijoule.errors import UsageError
from millijoule.sizes import Dim, Size


@dataclass(frozen=True)
class Dynamic:
    """``places``: dimensions by (input, axis). ``named``: those whose places the source knows."""

    places: Mapping[tuple[str, int], Dim] = field(default_factory=dict)
    named: Mapping[str, Dim] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.places or self.named)

    @property
    def dims(self) -> dict[str, Dim]:
        """Every dimension by name."""
        return {**self.named, **{d.name: d for d in self.places.values()}}

    def shape(self, name: str, sizes: Sequence[Any]) -> tuple[Any, ...]:
        """Shape of input ``name`` whose example has ``sizes``; `Size` where one varies."""
        return tuple(
            Size.of(self.places[name, axis]) if (name, axis) in self.places else size
            for axis, size in enumerate(sizes)
        )

    def placed(self, places: Mapping[str, Sequence[tuple[str, int]]]) -> Dynamic:
        """The same with named dimensions at ``places``, the source's own, by name.

        UsageError for a name that the source does not know.
        """
        found = dict(self.places)
        for name, dim in self.named.items():
            if name not in places:
                raise UsageError(
                    f"[dynamic] the source names no dimension {name!r}; it names "
                    f"{', '.join(sorted(places)) or 'none'}; say where it is: "
                    f"--dim {dim}@INPUT:AXIS"
                )
            found |= dict.fromkeys(places[name], dim)
        return Dynamic(found)

    def check(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """UsageError for a place that no input has, or a size of an example out of bounds."""
        for (name, axis), dim in self.places.items():
            if name not in shapes:
                raise UsageError(f"[dynamic] inputs are {', '.join(shapes)}, but not {name!r}")
            rank = len(shapes[name])
            if not 0 <= axis < rank:
                raise UsageError(
                    f"[dynamic] axis of {name} must be 0 to {rank - 1}, but is {axis} for {dim}"
                )
            size = shapes[name][axis]
            if not dim.min <= size <= dim.max:
                raise UsageError(
                    f"[dynamic] the example of {name} has size {size} along axis {axis}, outside of"
                    f" {dim}"
                )


def read_dynamic(given: Any) -> Dynamic:
    """What ``convert(dynamic=…)`` takes, in one form. UsageError for anything else.

    ``given``: None; a mapping of input names to ``{axis: Dim}`` or to a sequence with one Dim or
    None per axis; a sequence of named Dims; a `Dynamic`. A Dim of torch.export does as well.
    """
    if given is None:
        return Dynamic()
    if isinstance(given, Dynamic):
        return given
    places, named = {}, {}
    if isinstance(given, Mapping):
        for name, axes in given.items():
            for axis, dim in _axes(name, axes):
                places[str(name), axis] = dim
    elif isinstance(given, Sequence) and not isinstance(given, str):
        named = {d.name: d for d in map(_dim, given)}
    else:
        raise UsageError(f"[dynamic] must be a dict by input name, but is {type(given).__name__}")
    _check_bounds([*places.values(), *named.values()])
    return Dynamic(places, named)


def _axes(name: Any, axes: Any) -> Iterator[tuple[int, Dim]]:
    """(axis, Dim) of one input; nothing for axes that are None or fixed."""
    if axes is None:
        return
    if isinstance(axes, Mapping):
        items = list(axes.items())
    elif isinstance(axes, Sequence) and not isinstance(axes, str):
        items = list(enumerate(axes))
    else:
        raise UsageError(f"[dynamic] axes of {name!r} must be {{axis: Dim}}, but are {axes!r}")
    for axis, dim in items:
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise UsageError(f"[dynamic] an axis of {name!r} must be an integer, but is {axis!r}")
        if dim is not None and not isinstance(dim, int):
            yield axis, _dim(dim)


def _dim(value: Any) -> Dim:
    if isinstance(value, Dim):
        return value
    name = getattr(value, "__name__", None)  # torch.export.Dim
    low, high = getattr(value, "min", None), getattr(value, "max", None)
    if isinstance(name, str) and isinstance(low, int) and isinstance(high, int):
        return Dim(name, max(low, 1), high)
    raise UsageError(f"[dynamic] must be Dim(name, min, max), but is {value!r}")


def _check_bounds(dims: Sequence[Dim]) -> None:
    known: dict[str, Dim] = {}
    for dim in dims:
        if known.setdefault(dim.name, dim) != dim:
            raise UsageError(f"[dynamic] one dimension has two bounds: {known[dim.name]} and {dim}")
