"""Charts as inline SVG, drawn with CSS classes so that they follow light and dark mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .format import quantity

WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 26, 30
MAX_BINS = 48
TAIL_PERCENTILE = 99.0


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram or one label, in SVG units."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Tick:
    """A label at ``x``; ``anchor`` is an SVG text-anchor."""

    x: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Histogram:
    """Latency distribution; samples beyond ``TAIL_PERCENTILE`` are left out and counted."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    marks: tuple[Tick, ...]
    beyond: int
    description: str
    width: int = WIDTH
    height: int = HEIGHT
    top: int = TOP
    base: int = HEIGHT - BOTTOM


def histogram(samples_ns: Sequence[int], median_ms: float, p99_ms: float) -> Histogram:
    """Bins of ``samples_ns[n]``, with marks at the median and the 99th percentile if it fits."""
    ms = np.asarray(samples_ns, np.float64) / 1e6
    low, high = float(ms.min()), float(np.percentile(ms, TAIL_PERCENTILE))
    if high <= low:
        high = low * 1.01 + 1e-9
    shown = ms[ms <= high]
    bins = int(min(MAX_BINS, max(5, np.sqrt(len(shown)))))
    counts, _ = np.histogram(shown, bins=bins, range=(low, high))
    plot = WIDTH - LEFT - RIGHT
    room = HEIGHT - TOP - BOTTOM
    step = plot / bins
    tallest = int(counts.max())
    bars = tuple(
        Bar(LEFT + i * step, TOP + room * (1 - n / tallest), max(step - 1, 0.5), room * n / tallest)
        for i, n in enumerate(int(c) for c in counts)
        if n
    )

    def place(value: float) -> float:
        return LEFT + plot * (value - low) / (high - low)

    marks = [Tick(place(median_ms), f"median {quantity(median_ms, 'ms')}", _side(place(median_ms)))]
    if median_ms < p99_ms <= high and place(p99_ms) - place(median_ms) > 0.35 * plot:
        marks.append(Tick(place(p99_ms), f"p99 {quantity(p99_ms, 'ms')}", _side(place(p99_ms))))
    beyond = int(len(ms) - len(shown))
    description = (
        f"Histogram of {len(ms):,} latency samples from {quantity(low, 'ms')} to "
        f"{quantity(float(ms.max()), 'ms')}; median {quantity(median_ms, 'ms')}."
    )
    return Histogram(bars, _axis(low, high), tuple(marks), beyond, description)


def _axis(low: float, high: float) -> tuple[Tick, ...]:
    plot = WIDTH - LEFT - RIGHT
    anchors = ("start", "middle", "middle", "middle", "end")
    return tuple(
        Tick(LEFT + plot * i / 4, quantity(low + (high - low) * i / 4, "ms"), anchor)
        for i, anchor in enumerate(anchors)
    )


def _side(x: float) -> str:
    """Keep the text of a mark inside the picture."""
    if x < 0.15 * WIDTH:
        return "start"
    return "end" if x > 0.85 * WIDTH else "middle"


@dataclass(frozen=True)
class Line:
    """Latency over time as an SVG path, with axis labels."""

    path: str
    ticks: tuple[Tick, ...]
    top_label: str
    bottom_label: str
    description: str
    width: int = WIDTH
    height: int = HEIGHT
    top: int = TOP
    base: int = HEIGHT - BOTTOM


def line(times_s: Sequence[float], values_ms: Sequence[float]) -> Line:
    """``values_ms[n]`` over ``times_s[n]`` from zero to a little above the largest value."""
    plot, room = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    top = 1.1 * max(values_ms)
    span = max(times_s[-1] - times_s[0], 1e-9)
    points = [
        (LEFT + plot * (t - times_s[0]) / span, TOP + room * (1 - v / top))
        for t, v in zip(times_s, values_ms, strict=True)
    ]
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    ticks = tuple(
        Tick(LEFT + plot * i / 4, f"{times_s[0] + span * i / 4:.0f} s", anchor)
        for i, anchor in enumerate(("start", "middle", "middle", "middle", "end"))
    )
    description = (
        f"Median latency per second over {span:.0f} seconds, from {quantity(values_ms[0], 'ms')} "
        f"to {quantity(values_ms[-1], 'ms')}."
    )
    return Line(path, ticks, quantity(top, "ms"), "0", description)
