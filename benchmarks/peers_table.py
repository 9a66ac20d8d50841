#!/usr/bin/env python3
"""The milliseconds of every contender for every model, from results of ``run.py --cases models``.

    python benchmarks/peers_table.py FILE.json … [--json OUT.json] [--chart OUT.png]

Several files become one: a long run may be cut into slices, one or two models each. Of a model that
is in several files the last one counts. Prints a Markdown table for each number of threads; the
best peer is bold, ``–`` stands for a contender that does not take part. One thread: CPU time of the
process; more: wall clock.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mjbench import report
from mjbench.peers import OURS, PEERS

from millijoule.files import atomic_write

Times = dict[tuple[str, int], dict[str, float]]  # (model, threads) → ms by contender


def parts(contender: dict[str, Any]) -> tuple[str, str, int]:
    """(model, contender, threads) of a row of the JSON."""
    model, peer, _ = contender["name"].split(", ")
    return model, peer, int(contender["threads"])


def collect(documents: Sequence[dict[str, Any]]) -> Times:
    """Median milliseconds of the last document that has a model."""
    found: Times = {}
    for document in documents:
        rows = [(parts(row), row) for case in model_cases(document) for row in case["contenders"]]
        for model, _, threads in dict.fromkeys(key for key, _ in rows):
            found[model, threads] = {}
        for (model, peer, threads), row in rows:
            found[model, threads][peer] = row["median_us"] / 1e3
    return found


def model_cases(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Cases of whole models in a document."""
    return [case for case in document["cases"] if case["name"] == "models"]


def table(times: Times, threads: int) -> str:
    """Markdown: one row per model, and how many times as long as ours the best peer takes."""
    peers = [peer for peer in PEERS if peer != OURS]
    head = ["model", OURS, *peers, "best peer ÷ ours"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (model, count), row in times.items():
        if count != threads:
            continue
        others = {peer: ms for peer, ms in row.items() if peer != OURS}
        best = min(others, key=lambda peer: others[peer], default=None)
        cells = [f"**{_ms(ms)}**" if p == best else _ms(ms) for p in peers for ms in [row.get(p)]]
        times_ours = f"{others[best] / row[OURS]:.2f}" if best and OURS in row else "–"
        lines.append("| " + " | ".join([model, _ms(row.get(OURS)), *cells, times_ours]) + " |")
    return "\n".join(lines)


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def left_out(documents: Sequence[dict[str, Any]]) -> list[str]:
    """Who does not take part, and why; each once."""
    rows = [row for d in documents for case in model_cases(d) for row in case["left_out"]]
    return list(dict.fromkeys(f"{r['model']}, {r['contender']}: {r['reason']}" for r in rows))


def draw(path: Path, times: Times) -> None:
    """One panel per model and number of threads: bars of milliseconds, ours in green."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    threads = sorted({count for _, count in times})
    models = list(dict.fromkeys(model for model, _ in times))
    size = (5.5 * len(threads), 1.9 * len(models))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(models), len(threads), squeeze=False)
    for row, model in enumerate(models):
        for column, count in enumerate(threads):
            bars = dict(sorted(times.get((model, count), {}).items(), key=lambda item: item[1]))
            axes = grid[row][column]
            colors = ["#2f7d5b" if name == OURS else "#9aa5b1" for name in bars]
            drawn = axes.barh(list(bars), list(bars.values()), color=colors)
            axes.bar_label(drawn, [f" {_ms(ms)}" for ms in bars.values()], fontsize=7)
            axes.set_title(f"{model}, {count} thread{'s' * (count > 1)}, ms", fontsize=9)
            axes.invert_yaxis()
            axes.margins(x=0.15)
            axes.tick_params(labelsize=7)
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png", dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print tables; write the merged JSON and the chart if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all documents in one")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="the tables as a PNG")
    options = parser.parse_args(arguments)
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in options.files]
    times = collect(documents)
    for threads in sorted({count for _, count in times}):
        print(f"{threads} thread{'s' * (threads > 1)}, ms\n\n{table(times, threads)}\n")
    for words in left_out(documents):
        print(f"left out: {words}")
    if options.json:
        merged = {"format": "millijoule-benchmark-slices", "slices": documents}
        report.write_json(options.json, merged)
    if options.chart:
        draw(options.chart, times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
