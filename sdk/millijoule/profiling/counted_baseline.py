"""Comparing two profiles of emulated devices: instruction counts are exact, so no doubt remains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import UsageError

__all__ = ["CountComparison", "compare_counts"]


@dataclass(frozen=True)
class CountComparison:
    """Instructions against a baseline.

    Attributes:
        now, before: Instructions per call, means over the same inputs.
        limit: Largest ratio allowed.
        worst: The layer with the largest increase and the increase, per call; None if none grew.
        notes: Differences between the two set-ups.
    """

    now: float
    before: float
    limit: float
    worst: tuple[str, float] | None
    notes: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """New over old."""
        return self.now / self.before

    @property
    def regressed(self) -> bool:
        """Whether the ratio exceeds the limit."""
        return self.ratio > self.limit

    def __str__(self) -> str:
        text = (
            f"instructions per call are {self.ratio:.4f}× the baseline ({self.now:,.1f} against"
            f" {self.before:,.1f}; limit {self.limit:.3f})"
        )
        if self.worst:
            name, increase = self.worst
            text += f"; {name} grew most, by {increase:,.1f}"
        return text


def compare_counts(
    new: dict[str, Any], old: dict[str, Any], limit: float, notes: tuple[str, ...]
) -> CountComparison:
    """Compare the sections ``instructions`` of two profiles of the same model and unit.

    Raises:
        UsageError: One of them has none, or they were counted over different inputs.
    """
    for what, profile in (("this profile", new), ("the baseline", old)):
        if not profile.get("instructions"):
            raise UsageError(
                f"[baseline] both must be of an emulated device or both of hardware, but {what} has"
                " no instruction counts; use a baseline of the same device"
            )
    now, then = new["instructions"], old["instructions"]
    if now["calls"] != then["calls"]:
        raise UsageError(
            f"[baseline] both must be counted over the same inputs, but this profile has"
            f" {now['calls']} calls and the baseline {then['calls']}"
        )
    before = {layer["name"]: layer["instructions"] for layer in then["layers"]}
    growth = [
        (row["name"], row["instructions"] - before.get(row["name"], 0.0)) for row in now["layers"]
    ]
    worst = max(growth, key=lambda pair: pair[1], default=("", 0.0))
    return CountComparison(
        now=now["per_call"],
        before=then["per_call"],
        limit=limit,
        worst=worst if worst[1] > 0 and before else None,
        notes=notes,
    )
