"""What a bundle says of building its engine, checked before TensorRT sees any of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from ...errors import BundleError

__all__ = ["check_recipe"]

_PRECISIONS = ("float32", "float16")
_MOST_MB = 1 << 20  # a terabyte


def check_recipe(recipe: Mapping[str, Any]) -> None:
    """BundleError unless ``recipe`` has what `build_engine` reads, each of its kind.

    ``precision`` and ``workspace_mb`` must be there; ``tf32`` and ``profiles`` may be.
    """
    precision, workspace = recipe.get("precision"), recipe.get("workspace_mb")
    if precision not in _PRECISIONS:
        raise _wrong("precision", f"be one of {', '.join(_PRECISIONS)}", precision)
    if not _is_count(workspace) or workspace > _MOST_MB:
        raise _wrong("workspace_mb", f"be megabytes from 1 to {_MOST_MB}", workspace)
    if not isinstance(recipe.get("tf32", True), bool):
        raise _wrong("tf32", "be true or false", recipe["tf32"])
    profiles = recipe.get("profiles", [])
    if not isinstance(profiles, list) or not all(map(_is_profile, profiles)):
        raise _wrong("profiles", "give inputs a least, a usual and a largest shape", profiles)


def _wrong(field: str, rule: str, value: Any) -> BundleError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    return BundleError(f"[manifest.graph.recipe.{field}] must {rule}, but is {shown}; build again")


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_profile(profile: Any) -> bool:
    return isinstance(profile, dict) and all(map(_is_range, profile.values()))


def _is_range(shapes: Any) -> bool:
    """Whether ``shapes`` are three of one rank, each size no smaller than the one before."""
    if not isinstance(shapes, list) or len(shapes) != 3:
        return False
    if not all(isinstance(s, list) and all(map(_is_count, s)) for s in shapes):
        return False
    least, usual, largest = shapes
    return len(least) == len(usual) == len(largest) and all(
        a <= b <= c for a, b, c in zip(least, usual, largest, strict=True)
    )
