"""mj profile: measure latency, memory, operations and energy, or count instructions."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..executors import LOCAL
from ..inputs import inputs_for
from ..session import Session, load
from .console import Console
from .options import add_bundle, add_device, add_inputs, add_sizes, add_threads, positive

if TYPE_CHECKING:
    from ..profiling import Profile

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mj profile``."""
    add_bundle(parser)
    add_inputs(parser)
    add_threads(parser)
    add_device(parser)
    add_sizes(parser, "of the sample if not given; DIM=N,N,… profiles each, and prints one table")
    add = parser.add_argument
    add("--iterations", type=positive, default=10, metavar="N", help="time at least N calls")
    add("--warmup", type=_count, default=10, metavar="N", help="untimed calls before")
    add("--duration", type=_seconds, metavar="S", help="… and at least S seconds (default: 3)")
    add(
        "--percentiles",
        type=_percentiles,
        default=(50.0, 90.0, 95.0, 99.0),
        metavar="P,…",
        help="percentiles of the latency (default: 50,90,95,99)",
    )
    add("--energy", default="auto", metavar="auto|off|SOURCE", help="meter (see `mj doctor`)")
    add("--idle-seconds", type=_seconds, metavar="S", help="idle time before and after")
    add("--stable", action="store_true", help="repeat until latency is stable, or fail")
    add("--sustained", action="store_true", help="add a long run: clock and temperature over time")
    add(
        "--layers",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also time kernels, count spikes and operations, estimate energy",
    )
    add("--html", metavar="FILE", help="write a report")
    add("--trace", metavar="FILE", help="write a Chrome/Perfetto trace of one call")
    add("--baseline", metavar="FILE", help="compare with an earlier --json file")
    add(
        "--max-regression",
        type=_fraction,
        default=0.05,
        metavar="5%",
        help="exit 1 if the median latency (on an emulated device: the instructions) exceeds the"
        " baseline's by more (default: 5%%)",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Measure, print tables, write files, compare."""
    from ..profiling import combinations, load_profile
    from ..report import html

    several = combinations(arguments.size)
    for option in ("trace", "baseline"):
        if getattr(arguments, option) and len(several) > 1:
            raise UsageError(f"--{option} takes one profile; give one --size of every dimension")
    if arguments.trace and not arguments.layers:
        raise UsageError("--trace needs the kernel times that --no-layers leaves out")
    if arguments.trace and arguments.device != LOCAL:
        raise UsageError(f"--trace needs times, which {arguments.device} does not have")
    if arguments.html:
        html.require()  # now, not after the measurement
    baseline = load_profile(arguments.baseline) if arguments.baseline else None
    with load(arguments.bundle, arguments.threads, arguments.device) as session:
        results = [_measure(arguments, console, session, sizes) for sizes in several]
    _show(arguments, console, results)
    if arguments.html:
        _write_html(arguments.html, results)
    if arguments.trace:
        results[0].to_trace(arguments.trace)
    if baseline is not None:
        _compare(console, results[0], baseline, arguments.max_regression)
    return 0


def _measure(
    arguments: argparse.Namespace, console: Console, session: Session, sizes: dict[str, int]
) -> Profile:
    from ..profiling import profile

    with console.progress() as report:
        return profile(
            session,
            inputs_for(arguments.inputs, session.bundle) if arguments.inputs else None,
            sizes=sizes,
            iterations=arguments.iterations,
            warmup=arguments.warmup,
            duration=arguments.duration,
            percentiles=arguments.percentiles,
            energy=arguments.energy,
            idle_seconds=arguments.idle_seconds,
            layers=arguments.layers,
            stable=arguments.stable,
            sustained=arguments.sustained,
            progress=report,
        )


def _show(arguments: argparse.Namespace, console: Console, results: list[Profile]) -> None:
    """Tables of one profile, or one table of several; and their JSON."""
    from ..profiling import SIZES_FORMAT
    from ..report import profile_tables, sizes_table

    plain = [result.to_dict() for result in results]
    single = len(results) == 1
    tables = profile_tables(plain[0], layers=arguments.layers) if single else [sizes_table(plain)]
    for table in tables:
        console.table(table.columns, table.rows, table.title)
        console.text()
    for warning in dict.fromkeys(w for result in results for w in result.warnings):
        console.note(f"warning: {warning}")
    console.json(plain[0] if single else {"format": SIZES_FORMAT, "schema": 1, "profiles": plain})


def _write_html(path: str, results: list[Profile]) -> None:
    """The report of one profile, or of several with a comparison in front."""
    if len(results) == 1:
        results[0].to_html(path)
        return
    from ..files import atomic_write
    from ..report.html import render
    from ..shapes import size_text

    plain = [result.to_dict() for result in results]
    text = render(plain, [size_text(profile["sizes"]) for profile in plain])
    with atomic_write(path) as stream:
        stream.write(text.encode())


def _compare(console: Console, result: Profile, baseline: dict[str, Any], limit: float) -> None:
    from ..profiling import check

    comparison = check(result.to_dict(), baseline, limit)
    console.text(str(comparison))
    for note in comparison.notes:
        console.note(f"note: {note}")


def _number(text: str, low: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < low:
        raise argparse.ArgumentTypeError(f"must be {what}, but received {text!r}")
    return value


def _seconds(text: str) -> float:
    return _number(text, 0, "a number of seconds")


def _count(text: str) -> int:
    value = _number(text, 0, "an integer of at least 0")
    if value != int(value):
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, not {text!r}")
    return int(value)


def _percentiles(text: str) -> tuple[float, ...]:
    values = tuple(_number(part, 0, "percentiles from 0 to 100") for part in text.split(","))
    if max(values) > 100:
        raise argparse.ArgumentTypeError(f"must be percentiles from 0 to 100, not {text!r}")
    return values


def _fraction(text: str) -> float:
    """``5%`` or ``0.05``."""
    rule = "a percentage such as 5%"
    if text.endswith("%"):
        return _number(text[:-1], 0, rule) / 100
    return _number(text, 0, rule)
