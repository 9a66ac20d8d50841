"""Results as tables, JSON and a chart."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from millijoule.files import atomic_write
from millijoule.profiling.conditions import condition_warnings, record_conditions
from millijoule.targets import toolchain
from mjbench.measure import CONFIDENCE, median_interval
from mjbench.peers import OURS, PEERS
from mjbench.result import CaseResult

SCHEMA = 1
_PACKAGES = ("torch", "onnxruntime", "onnx", "apache-tvm")


def conditions() -> dict[str, Any]:
    """Machine, load and versions."""
    found = record_conditions(threads=1)
    del found["threads"]  # each contender states its own
    found["versions"] |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    found["revision"] = _revision()
    found["versions"]["c compiler"] = toolchain.version(toolchain.find_compiler())
    return found


def _revision() -> str | None:
    """The commit that is measured, ``-dirty`` if files differ from it; None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def show(console: Console, result: CaseResult) -> None:
    """Print the tables of one case."""
    extra = list(next(iter(result.columns.values()), {}))
    table = Table(title=result.title, title_justify="left")
    for column in ("contender", "median µs", f"{CONFIDENCE:.0%} interval", "best round µs", *extra):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for name, timing in result.timings.items():
        low, high = median_interval(timing.rounds_us)
        table.add_row(
            name,
            f"{timing.median_us:,.2f}",
            f"{low:,.2f} … {high:,.2f}",
            f"{timing.best_us:,.2f}",
            *result.columns.get(name, {}).values(),
        )
    console.print(table)
    if result.ratios:
        ratios = Table("slower", "faster", "times", "95% interval", "times, best rounds")
        for r in result.ratios:
            fastest = result.timings[r.slower].best_us / result.timings[r.faster].best_us
            interval = f"{r.interval[0]:.2f} … {r.interval[1]:.2f}"
            ratios.add_row(r.slower, r.faster, f"{r.value:.2f}", interval, f"{fastest:.2f}")
        console.print(ratios)
    for name, rows in result.kernels.items():
        kernels = Table("kernel", "layer", "µs", "floor µs", title=f"Kernels of {name}")
        for row in rows:
            floor = f"{row.floor_us:.2f}" if row.floor_us else "–"
            kernels.add_row(row.name, row.layer, f"{row.us:.2f}", floor)
        console.print(kernels)
    for goal in result.goals:
        sign = "≤" if goal.at_most else "≥"
        verdict = "[green]met[/]" if goal.met else "[red]not met[/]"
        console.print(f"goal {goal.text} {sign} {goal.bound:g}: {goal.value:.2f} {verdict}")
    for note in result.notes:
        console.print(f"[dim]{note}[/]")


def document(
    results: Sequence[CaseResult], before: dict[str, Any], after: dict[str, Any], rounds: int
) -> dict[str, Any]:
    """The JSON document of a run."""
    return {
        "format": "millijoule-benchmark",
        "schema": SCHEMA,
        "rounds": rounds,
        "conditions": before,
        "load_average_after": after["load_average"],
        "warnings": condition_warnings(before),
        "cases": [result.to_dict() for result in results],
    }


def file_stem(found: dict[str, Any]) -> str:
    """``<date>-<cpu>``, fit for a file name."""
    cpu = re.sub(r"[^a-z0-9]+", "-", found["cpu_model"].lower()).strip("-")
    return f"{found['time'][:10]}-{cpu}"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` compactly: raw samples would fill thousands of lines."""
    with atomic_write(path) as stream:
        stream.write(json.dumps(content, ensure_ascii=False).encode())


def write_chart(path: Path, results: Sequence[CaseResult]) -> None:
    """Bars of medians with their intervals, one panel per case, logarithmic."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [len(result.timings) + 2 for result in results]
    figure = Figure(figsize=(9, 0.3 * sum(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(results), 1, height_ratios=rows)
    for index, result in enumerate(results):
        _panel(figure.add_subplot(grid[index]), result)
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png", dpi=150)


def _panel(axes: Any, result: CaseResult) -> None:
    names = list(result.timings)
    medians = [t.median_us for t in result.timings.values()]
    intervals = [median_interval(t.rounds_us) for t in result.timings.values()]
    errors = [
        [max(m - low, 0.0) for m, (low, _) in zip(medians, intervals, strict=True)],
        [max(high - m, 0.0) for m, (_, high) in zip(medians, intervals, strict=True)],
    ]
    colors = ["#9aa5b1" if _is_peer(name) else "#2f7d5b" for name in names]
    bars = axes.barh(names, medians, xerr=errors, color=colors, ecolor="#444")
    axes.bar_label(bars, [f" {m:,.1f}" for m in medians], fontsize=7)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set_title(result.title, loc="left", fontsize=9)
    axes.set_xlabel("median, µs", fontsize=8)
    axes.tick_params(labelsize=7)


def _is_peer(name: str) -> bool:
    """Whether a contender is somebody else's; in the case `models` the model comes first."""
    others = [peer for peer in PEERS if peer != OURS]
    named = name.startswith(("torch", "ONNX")) or any(f", {peer}, " in name for peer in others)
    return named or name.endswith("dense")
