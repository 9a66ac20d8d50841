"""Small conventions that the front ends share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def named_outputs(returned: Any) -> dict[str, Any]:
    """What a module returned, as a flat dict without its Nones.

    Keys of mappings and fields of dataclasses and named tuples are names; positions in a tuple or
    list are numbers; levels are joined by dots (``hidden_states.0``). At the top, one tensor is
    ``y`` and those of a tuple are ``y0, y1, …``.
    """
    if isinstance(returned, tuple | list) and _fields(returned) is None:
        if len(returned) == 1:
            return dict(_leaves("y", returned[0]))
        return {k: v for i, item in enumerate(returned) for k, v in _leaves(f"y{i}", item)}
    fields = _fields(returned)
    if fields is None:
        return {"y": returned}
    return {k: v for name, item in fields.items() for k, v in _leaves(name, item)}


def _fields(value: Any) -> dict[str, Any] | None:
    """The named members of ``value``, or None if it has none."""
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(value._asdict())
    return None


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Name and value of everything below ``value`` that is no container."""
    fields = _fields(value)
    if fields is None and isinstance(value, tuple | list):
        fields = {str(i): item for i, item in enumerate(value)}
    if fields is not None:
        for key, item in fields.items():
            yield from _leaves(f"{name}.{key}", item)
    elif value is not None:
        yield name, value


def repeat_rows(x: Tensor, batch: int, axis: int) -> Tensor:
    """``x`` with ``batch`` entries along ``axis``, going round."""
    return x.index_select(axis, torch.arange(batch) % x.shape[axis])
