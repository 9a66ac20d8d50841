"""Tables of profiles of emulated devices: instructions, where others have time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .format import digits, percent

__all__ = ["bars", "cards", "count", "layer_rows", "summary_rows"]

MAX_ROWS = 20


def count(value: float) -> str:
    """A number of instructions: all digits of a whole one, one decimal of a mean."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def summary_rows(instructions: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What a call takes, each row with its status."""
    status = instructions["status"]
    rows = [("per call, mean", count(instructions["per_call"]), status)]
    if instructions["calls"] > 1:
        rows += [("fewest", count(instructions["min"]), status)]
        rows += [("most", count(instructions["max"]), status)]
        rows += [("all calls together", count(instructions["total"]), status)]
    rows += [("outside kernels", count(instructions["outside_kernels"]), status)]
    if frame := instructions["frame"]:
        rate = instructions["per_call"] / frame["frame_shift_ms"] / 1e3
        note = f"million per second of sound ({frame['frame_shift_ms']:g} ms per frame)"
        rows += [("to keep up", f"{digits(rate)} {note}", "estimated")]
    return rows


def layer_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Layers by falling share, the small ones together."""
    return [
        (row["name"], str(row["kernels"]), count(row["instructions"]), percent(row["share"]))
        for row in _joined(rows, MAX_ROWS)
    ]


def bars(rows: Sequence[Mapping[str, Any]], limit: int) -> list[dict[str, Any]]:
    """The same for the chart: ``size`` is relative to the longest bar."""
    joined = _joined(rows, limit)
    longest = max((row["instructions"] for row in joined), default=0.0) or 1.0
    return [
        {**row, "text": count(row["instructions"]), "size": row["instructions"] / longest}
        for row in joined
    ]


def _joined(rows: Sequence[Mapping[str, Any]], limit: int) -> list[Mapping[str, Any]]:
    ordered = sorted(rows, key=lambda row: -row["instructions"])
    rest = ordered[limit:]
    if not rest:
        return ordered
    sums = {k: sum(row[k] for row in rest) for k in ("kernels", "instructions", "share")}
    return [*ordered[:limit], {"name": f"{len(rest)} more", **sums}]


def cards(instructions: Mapping[str, Any]) -> list[dict[str, str]]:
    """The headline figure."""
    note = f"mean of {instructions['calls']:,} call(s); {instructions['what']}"
    return [
        {
            "title": "Instructions",
            "value": count(instructions["per_call"]),
            "status": instructions["status"],
            "note": note,
        }
    ]
