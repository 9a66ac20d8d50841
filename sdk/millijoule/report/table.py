"""Profiles as plain tables, for the terminal. Every row that holds a number says its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .format import digits, figure, percent, quantity
from .instructions import count, layer_rows, summary_rows

MAX_LAYERS = 20


@dataclass(frozen=True)
class Table:
    """A table of strings: a title, column names, rows as wide as the columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def profile_tables(profile: Mapping[str, Any], *, layers: bool = True) -> list[Table]:
    """All tables of one profile; ``layers`` False leaves out the rows per layer."""
    if profile.get("instructions"):
        return _emulated(profile, layers)
    tables = [_latency(profile), _energy(profile), _memory(profile)]
    if profile["sustained"]:
        tables.insert(1, _sustained(profile["sustained"]))
    if profile["layers"] and layers:
        tables += [_layers(profile), _operations(profile)]
    return tables


def _emulated(profile: Mapping[str, Any], layers: bool) -> list[Table]:
    """Tables of a profile that an emulated device gave."""
    instructions = profile["instructions"]
    rows = tuple(summary_rows(instructions))
    what = f"{instructions['what']}; {instructions['calls']:,} calls"
    title = f"Instructions of {profile['unit']} ({what})"
    latency = Table("Latency", ("", "value", "status", "source or reason"), _no_latency(profile))
    tables = [Table(title, ("", "instructions", "status"), rows), latency]
    tables += [_energy(profile), _memory(profile)]
    if layers and instructions["layers"]:
        columns = ("layer", "kernels", "instructions", "share")
        by_layer = tuple(layer_rows(instructions["layers"]))
        tables.append(Table("Instructions per layer (measured)", columns, by_layer))
    if layers and profile["operations"]:
        tables.append(_operations(profile))
    return tables


def _no_latency(profile: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    return (_figure_row("latency", profile["latency"]),)


def _latency(profile: Mapping[str, Any]) -> Table:
    latency = profile["latency"]
    low, high = latency["median_interval_ms"]
    names = ("min_ms", "mean_ms", "median_ms", "max_ms", "stddev_ms")
    values = {name.removesuffix("_ms"): latency[name] for name in names}
    values |= {f"p{p}": value for p, value in latency["percentiles_ms"].items() if p != "50"}
    rows = [(name, quantity(value, "ms"), "measured") for name, value in values.items()]
    interval = f"{quantity(low, 'ms')} – {quantity(high, 'ms')}"
    rows.insert(3, ("95 % interval of the median", interval, "measured"))
    if profile["layers"]:
        alone = quantity(profile["layers"]["total_ms"], "ms")
        rows.append(("kernels alone, see below", alone, "measured"))
    cold = profile["cold_start"]
    rows.append(("cold start: load", figure(cold["load_ms"]), "measured"))
    rows.append(("cold start: first inference", figure(cold["first_inference_ms"]), "measured"))
    if profile["real_time"]:
        factor = profile["real_time"]["factor"]
        rows.append(("real-time factor", f"{digits(factor['value'])} (< 1 keeps up)", "measured"))
    title = f"Latency of {profile['unit']} ({latency['count']:,} samples)"
    return Table(title, ("", "value", "status"), tuple(rows))


def _sustained(sustained: Mapping[str, Any]) -> Table:
    windows = sustained["windows"]
    picked = [windows[round(i * (len(windows) - 1) / 9)] for i in range(min(10, len(windows)))]
    if len(windows) < 10:
        picked = windows
    rows = tuple(
        (
            f"{w['t_s']:.0f} s",
            quantity(w["median_ms"], "ms"),
            quantity(w["p99_ms"], "ms"),
            f"{w['frequency_mhz']:.0f} MHz" if "frequency_mhz" in w else "unavailable",
            f"{w['temperature_c']:.0f} °C" if "temperature_c" in w else "unavailable",
        )
        for w in picked
    )
    title = f"Sustained run: {percent(sustained['slowdown'])} slower at the end (measured)"
    return Table(title, ("time", "median", "p99", "clock", "temperature"), rows)


def _energy(profile: Mapping[str, Any]) -> Table:
    measured = profile["energy"]["measured"]
    labels = {
        "energy_mj": "energy, all of it",
        "net_energy_mj": "energy above idle",
        "power_w": "mean power",
        "idle_before_w": "idle power before",
        "idle_after_w": "idle power after",
    }
    if measured["energy_mj"]["value"] is None:
        labels = {"energy_mj": "measured energy"}
    rows = [_figure_row(label, measured[key]) for key, label in labels.items()]
    for item in profile["energy"]["estimated"]:
        rows += [
            _figure_row("arithmetic", item["compute_mj"]),
            _figure_row("memory traffic", item["memory_mj"]),
            _figure_row("arithmetic, if every spike-driven add were a MAC", item["mac_compute_mj"]),
        ]
    title = f"Energy of {profile['unit']}"
    if "covers" in measured:
        title += f"; measured: {measured['covers']}"
    return Table(title, ("", "value", "status", "source or reason"), tuple(rows))


def _figure_row(label: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    return (label, figure(data), data["status"], data.get("source") or data.get("reason", ""))


def _memory(profile: Mapping[str, Any]) -> Table:
    rows = tuple(
        _figure_row(name.removesuffix("_bytes").replace("_", " "), data)
        for name, data in profile["memory"].items()
    )
    return Table("Memory", ("", "size", "status", "source or reason"), rows)


def _layers(profile: Mapping[str, Any]) -> Table:
    layers = sorted(profile["layers"]["layers"], key=lambda row: -row["time_ms"])
    rows = [
        (row["name"], str(row["kernels"]), quantity(row["time_ms"], "ms"), percent(row["share"]))
        for row in layers[:MAX_LAYERS]
    ]
    rest = layers[MAX_LAYERS:]
    if rest:
        time = sum(row["time_ms"] for row in rest)
        share = percent(sum(row["share"] for row in rest))
        kernels = str(sum(row["kernels"] for row in rest))
        rows.append((f"{len(rest)} more layers", kernels, quantity(time, "ms"), share))
    title = f"Kernel time per layer (measured, {profile['layers']['calls']:,} calls)"
    return Table(title, ("layer", "kernels", "time", "share"), tuple(rows))


def _operations(profile: Mapping[str, Any]) -> Table:
    operations = profile["operations"]
    totals = {"name": "total", **operations["totals"]}
    rows = tuple(
        (
            row["name"],
            quantity(row["macs"], "ops"),
            quantity(row["multiplies"], "ops"),
            quantity(row["adds"], "ops"),
            quantity(row["binary_ops"], "ops"),
        )
        for row in (*operations["groups"], totals)
    )
    published = operations.get("published_macs")
    if published:
        macs = quantity(sum(published.values()), "ops")
        rows += (("the model as published, one sample", macs, "", "", ""),)
    bits = operations.get("one_bit")
    if bits:
        count = quantity(bits["operations_as_published"], "ops")
        rows += (("64 one-bit operations as one, like papers", count, "", "", ""),)
    title = f"Operations of {profile['unit']} (MACs dense; adds with the spikes that occurred)"
    return Table(title, ("layers", "dense MACs", "multiplies", "adds", "1-bit"), rows)


def compare_table(profiles: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """Profiles side by side, the first one being the reference of the ratios.

    Args:
        profiles: As from ``load_profile``.
        names: Column heads, e.g. file names.
    """
    rows = [
        ("model", *(p["bundle"]["model"]["name"] for p in profiles)),
        ("target", *(p["bundle"]["target"]["name"] for p in profiles)),
        ("CPU", *(p["conditions"]["cpu_model"] for p in profiles)),
        ("threads", *(str(p["conditions"]["threads"]) for p in profiles)),
        ("one call", *(p["unit"] for p in profiles)),
        *(
            (f"{key.removesuffix('_ms')} (measured)", *_latencies(profiles, key))
            for key in ("median_ms", "min_ms", "max_ms")
        ),
        ("median / first", *_ratios([p["latency"].get("median_ms") for p in profiles])),
        ("instructions", *(_instructions(p) for p in profiles)),
        ("energy above idle", *(_labelled(_net_energy(p)) for p in profiles)),
        ("arena", *(_labelled(p["memory"]["arena_bytes"]) for p in profiles)),
        ("weights", *(_labelled(p["memory"]["weight_bytes"]) for p in profiles)),
        ("MACs, dense", *(_operation_total(p, "macs") for p in profiles)),
        ("adds, actual", *(_operation_total(p, "adds") for p in profiles)),
    ]
    return Table("Comparison", ("", *names), tuple(rows))


def _latencies(profiles: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    values = [p["latency"].get(key) for p in profiles]
    return ["unavailable" if value is None else quantity(value, "ms") for value in values]


def _ratios(values: Sequence[float | None]) -> list[str]:
    first = values[0]
    return [f"{v / first:.3f}×" if v is not None and first else "unavailable" for v in values]


def _instructions(profile: Mapping[str, Any]) -> str:
    section = profile.get("instructions")
    return f"{count(section['per_call'])} ({section['status']})" if section else "unavailable"


def _net_energy(profile: Mapping[str, Any]) -> Mapping[str, Any]:
    data: Mapping[str, Any] = profile["energy"]["measured"]["net_energy_mj"]
    return data


def _labelled(data: Mapping[str, Any]) -> str:
    return "unavailable" if data["value"] is None else f"{figure(data)} ({data['status']})"


def _operation_total(profile: Mapping[str, Any], key: str) -> str:
    operations = profile["operations"]
    return quantity(operations["totals"][key], "ops") if operations else "unavailable"
