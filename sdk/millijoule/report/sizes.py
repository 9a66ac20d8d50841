"""Profiles of one program at several sizes, a row for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..shapes import size_text
from .format import figure, quantity
from .instructions import count
from .table import Table

__all__ = ["sizes_table"]


def sizes_table(profiles: Sequence[Mapping[str, Any]]) -> Table:
    """Latency (or instructions), operations and energy by size.

    Args:
        profiles: of one bundle and device, each with the ``sizes`` that it is of.
    """
    counted = bool(profiles[0].get("instructions"))
    heads = ("instructions",) if counted else ("median", "95 % interval", "p99")
    columns = ("sizes", *heads, "dense MACs", "1-bit", "net energy", "arithmetic", "traffic")
    rows = tuple(
        (size_text(p["sizes"]), *(_instructions(p) if counted else _latency(p)), *_costs(p))
        for p in profiles
    )
    what = "instructions measured" if counted else "latency measured"
    title = (
        f"{profiles[0]['bundle']['model']['name']} by size ({what}; net energy measured where it"
        " is given, arithmetic and memory traffic estimated)"
    )
    return Table(title, columns, rows)


def _instructions(profile: Mapping[str, Any]) -> tuple[str, ...]:
    return (count(profile["instructions"]["per_call"]),)


def _latency(profile: Mapping[str, Any]) -> tuple[str, ...]:
    latency = profile["latency"]
    low, high = (quantity(ms, "ms") for ms in latency["median_interval_ms"])
    tail = latency["percentiles_ms"].get("99")
    p99 = "-" if tail is None else quantity(tail, "ms")
    return quantity(latency["median_ms"], "ms"), f"{low} – {high}", p99


def _costs(profile: Mapping[str, Any]) -> tuple[str, ...]:
    """Dense operations, and energy measured and estimated; "-" for what was not looked for."""
    operations, energy = profile["operations"], profile["energy"]
    totals = operations["totals"] if operations else {}
    counts = tuple(quantity(totals[n], "ops") if n in totals else "-" for n in _COUNTS)
    net = energy["measured"]["net_energy_mj"]
    estimates = energy["estimated"][:1]
    costs = [figure(e[name]) for e in estimates for name in ("compute_mj", "memory_mj")]
    return (*counts, "-" if net["value"] is None else figure(net), *(costs or ("-", "-")))


_COUNTS = ("macs", "binary_ops")
