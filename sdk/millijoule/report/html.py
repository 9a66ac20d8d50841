"""A self-contained HTML report: one file, no scripts, no external assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..version import __version__
from . import instructions
from .accuracy import accuracy_table, quantized_layers
from .charts import Histogram, histogram, line
from .format import digits, figure, percent, quantity, spread
from .table import Table, compare_table

TEMPLATE = "report.html.j2"
MAX_ROWS = 16


def require() -> None:
    """Raise `UsageError` unless reports can be made; call it before a long measurement."""
    if find_spec("jinja2") is None:
        raise UsageError(
            "the HTML report needs jinja2; install the extra: pip install 'millijoule[report]'"
        )


def render(profiles: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    """HTML of one or several profiles; several begin with a comparison.

    Args:
        profiles: Profiles as from ``load_profile``, at least one.
        names: What to call each, e.g. its file name; default: the model's name.

    Raises:
        UsageError: jinja2 is not installed.
    """
    require()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(quantity=quantity, figure=figure, percent=percent, digits=digits)
    titles = list(names) or [p["bundle"]["model"]["name"] for p in profiles]
    comparison = compare_table(profiles, titles) if len(profiles) > 1 else None
    text: str = environment.get_template(TEMPLATE).render(
        pages=[_page(profile, name) for profile, name in zip(profiles, titles, strict=True)],
        comparison=comparison,
        version=__version__,
    )
    return text.strip() + "\n"


def _quantization(record: Mapping[str, Any] | None) -> list[Table]:
    """Int8 against float, and the layers; nothing for a float program."""
    return [accuracy_table(record), quantized_layers(record)] if record else []


def _page(profile: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the template needs beyond the profile itself."""
    counts = profile.get("instructions")
    sustained = profile["sustained"]
    windows = sustained["windows"] if sustained else []
    return {
        "name": name,
        "p": profile,
        "cards": _cards(profile),
        "histogram": None if counts else _histogram(profile["latency"]),
        "instruction_rows": instructions.summary_rows(counts) if counts else [],
        "instruction_layers": instructions.bars(counts["layers"], MAX_ROWS) if counts else [],
        "instruction_ops": instructions.bars(counts["ops"], MAX_ROWS) if counts else [],
        "quantization": _quantization(profile["bundle"].get("quantization")),
        "sustained": line([w["t_s"] for w in windows], [w["median_ms"] for w in windows])
        if len(windows) > 1
        else None,
        "layers": _layer_bars(profile),
        "ops": _bars(profile["layers"]["ops"]) if profile["layers"] else [],
        "groups": _operation_bars(profile),
        "taps": _taps(profile),
        "estimates": [_estimate(item) for item in profile["energy"]["estimated"]],
        "channels": _channels(profile["energy"]["measured"]),
        "conditions": _conditions(profile),
    }


def _histogram(latency: Mapping[str, Any]) -> Histogram:
    p99 = latency["percentiles_ms"].get("99", latency["max_ms"])
    return histogram(latency["samples_ns"], latency["median_ms"], p99)


def _cards(profile: Mapping[str, Any]) -> list[dict[str, str]]:
    """The headline figures."""
    if counts := profile.get("instructions"):
        memory = profile["memory"]
        names = {
            "code_bytes": "Code",
            "weight_bytes": "Weights",
            "arena_bytes": "Working memory",
            "stack_bytes": "Stack",
        }
        sizes = [_figure_card(title, memory[name]) for name, title in names.items()]
        return [*instructions.cards(counts), *sizes]
    latency, memory = profile["latency"], profile["memory"]
    low, high = latency["median_interval_ms"]
    interval = f"95 % interval {quantity(low, 'ms')} – {quantity(high, 'ms')}"
    cards = [_card("Median latency", latency["median_ms"], "ms", interval)]
    if "99" in latency["percentiles_ms"]:
        note = f"{latency['count']:,} samples"
        cards.append(_card("99th percentile", latency["percentiles_ms"]["99"], "ms", note))
    if profile["real_time"]:
        shift = profile["real_time"]["frame_shift_ms"]
        factor = profile["real_time"]["factor"]["value"]
        note = f"of the {shift:g} ms between frames; below 100 % keeps up"
        cards.append({**_card("Real-time load", 0, "1", note), "value": percent(factor)})
    measured = profile["energy"]["measured"]["net_energy_mj"]
    cards.append(_figure_card("Energy above idle", measured))
    for estimate in profile["energy"]["estimated"][:1]:
        cards.append(_figure_card("Energy, from counts", estimate["total_mj"]))
    cards.append(_figure_card("Cold start", profile["cold_start"]["total_ms"]))
    cards.append(_figure_card("Weights", memory["weight_bytes"]))
    cards.append(_figure_card("Working memory", memory["arena_bytes"]))
    return cards


def _card(title: str, value: float, unit: str, note: str) -> dict[str, str]:
    text = quantity(value, unit)
    return {"title": title, "value": text, "status": "measured", "note": note}


def _figure_card(title: str, data: Mapping[str, Any]) -> dict[str, str]:
    if data["value"] is None:
        reason = data["reason"].partition(":")[0]
        return {"title": title, "value": "—", "status": data["status"], "note": reason}
    value, unit, bound = data["value"], data["unit"], data.get("uncertainty")
    note = data["source"] + (f"; ± {spread(bound, unit)}" if bound else "")
    return {**_card(title, value, unit, note), "status": data["status"]}


def _bars(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows by falling time with the small ones joined; ``size`` is relative to the longest."""
    ordered = sorted(rows, key=lambda row: -row["time_ms"])
    bars = [dict(row) for row in ordered[:MAX_ROWS]]
    rest = ordered[MAX_ROWS:]
    if rest:
        sums = {key: sum(row[key] for row in rest) for key in ("kernels", "time_ms", "share")}
        bars.append({"name": f"{len(rest)} more", **sums})
    longest = max((bar["time_ms"] for bar in bars), default=0.0) or 1.0
    return [{**bar, "size": bar["time_ms"] / longest} for bar in bars]


def _layer_bars(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _bars(profile["layers"]["layers"]) if profile["layers"] else []


def _operation_bars(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Dense and actual additions and multiplications per layer group."""
    if not profile["operations"]:
        return []
    groups = profile["operations"]["groups"]
    rows = [
        {
            "name": g["name"],
            "macs": g["macs"],
            "dense": g["dense_adds"] + g["multiplies"] + g["binary_ops"],
            "actual": g["adds"] + g["multiplies"] + g["binary_ops"],
        }
        for g in groups
    ]
    largest = max((row["dense"] for row in rows), default=0) or 1
    return [
        {**row, "dense_size": row["dense"] / largest, "actual_size": row["actual"] / largest}
        for row in rows
    ]


def _taps(profile: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return profile["operations"]["taps"] if profile["operations"] else []


def _estimate(item: Mapping[str, Any]) -> dict[str, Any]:
    """An estimate with the shares of arithmetic and memory."""
    total = item["total_mj"]["value"]
    split = item["compute_mj"]["value"] / total if total else None
    mac, actual = item["mac_compute_mj"]["value"], item["compute_mj"]["value"]
    return {**item, "split": split, "saving": mac / actual if mac and actual else None}


def _channels(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    channels = measured.get("channels_mj", {})
    largest = max((c["value"] for c in channels.values()), default=0.0) or 1.0
    return [
        {"name": name, "figure": data, "size": max(0.0, data["value"]) / largest}
        for name, data in channels.items()
    ]


def _conditions(profile: Mapping[str, Any]) -> Table:
    """The set-up, row by row; what could not be read is said to be unavailable."""
    c, target = profile["conditions"], profile["bundle"]["target"]
    temperatures = ", ".join(f"{k} {v:.0f} °C" for k, v in c["temperatures_c"].items())
    load = c["load_average"]
    frequency = c["frequency_mhz"]
    toolchain = dict(profile["bundle"]["toolchain"])
    tuned = dict(toolchain.pop("tuning", {})).get("kernels", {})
    rows = (
        ("time", c["time"]),
        ("command", c["command"]),
        ("CPU", c["cpu_model"] + (" (virtual machine)" if c["virtual_machine"] else "")),
        ("CPUs", f"{c['cpus_allowed']} of {c['cpus']} usable, {c['threads']} used"),
        ("governor", c["governor"]),
        ("power mode", c["power_mode"]),
        ("frequency", f"{frequency:.0f} MHz" if frequency else None),
        ("temperatures", temperatures or None),
        ("load average", ", ".join(f"{x:.2f}" for x in load) if load else None),
        ("system", c["platform"]),
        ("target", f"{target['name']}: {target['triple']}, {target['cpu']}, {target['dtype']}"),
        ("versions", ", ".join(f"{k} {v}" for k, v in c["versions"].items())),
        ("toolchain", ", ".join(f"{k} {v}" for k, v in toolchain.items())),
        ("tuned kernels", ", ".join(sorted(tuned)) or "none"),
    )
    cells = tuple((name, "unavailable" if value is None else str(value)) for name, value in rows)
    return Table("Conditions", ("", ""), cells)
