#!/usr/bin/env python3
"""Time Millijoule and its peers on the same models, threads and inputs, interleaved in one run.

    python benchmarks/run.py [--quick] [--cases streaming,kernels] [--model DIR] [--out DIR]

Exit codes: 0, 1 if ``--check`` is given and a goal was missed, 2 for bad arguments.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import torch
from mjbench import report
from mjbench.cases import CASES
from mjbench.cases.models import QUICK, QUICK_PEERS
from mjbench.native import Loops
from mjbench.peers import PEERS
from mjbench.result import Settings, ShowProgress
from mjbench.subjects import SUBJECTS
from rich.console import Console
from rich.progress import Progress

from millijoule.converters.source import read_folder
from millijoule.cpu import available_cpus
from millijoule.errors import MjError

ROUNDS, QUICK_ROUNDS = 30, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen cases, print their tables, write JSON and chart."""
    options = _parser().parse_args(arguments)
    chosen = list(CASES) if options.cases is None else options.cases
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
    torch.set_num_threads(1)
    console = Console()
    if not console.is_terminal:
        console.width = 120
    before = report.conditions()
    results = []
    with tempfile.TemporaryDirectory(prefix="mjbench-") as work:
        loops = Loops(Path(work))
        for name in chosen:
            with Progress(console=console, transient=True) as bar:
                settings = Settings(
                    rounds=rounds,
                    threads=tuple(options.threads),
                    work=Path(work),
                    model=options.model,
                    plain_model=options.plain_model,
                    models=tuple(options.models or (QUICK if options.quick else SUBJECTS)),
                    peers=tuple(options.peers or (QUICK_PEERS if options.quick else PEERS)),
                    cache=options.cache.resolve(),
                    prepare_only=options.prepare,
                    loops=loops,
                    progress=_shower(bar, name),
                )
                results.append(CASES[name](settings))
            report.show(console, results[-1])
    document = report.document(results, before, report.conditions(), rounds)
    document["left_out"] = left_out = _left_out(options, chosen, rounds)
    for words in left_out:
        console.print(f"left out: {words}")
    for warning in document["warnings"]:
        console.print(f"[yellow]warning: {warning}[/]")
    options.out.mkdir(parents=True, exist_ok=True)
    stem = report.file_stem(before)
    if options.prepare:
        return 0
    report.write_json(options.out / f"{stem}.json", document)
    report.write_chart(options.out / f"{stem}.png", results)
    console.print(f"wrote {options.out / stem}.json and .png")
    missed = any(not goal.met for result in results for goal in result.goals)
    return 1 if options.check and missed else 0


def _left_out(options: argparse.Namespace, chosen: Collection[str], rounds: int) -> list[str]:
    """What a full run would do besides."""
    words = []
    if rounds < ROUNDS:
        words.append(f"{ROUNDS - rounds} of {ROUNDS} rounds")
    without = [name for name in CASES if name not in chosen]
    if without:
        words.append(f"cases {', '.join(without)}")
    for kind, every, some, quick in (
        ("models", SUBJECTS, options.models, QUICK),
        ("peers", PEERS, options.peers, QUICK_PEERS),
    ):
        kept = some or (quick if options.quick else every)
        rest = [name for name in every if name not in kept]
        if rest and "models" in chosen:
            words.append(f"{kind} {', '.join(rest)}")
    return words


def _shower(bar: Progress, name: str) -> ShowProgress:
    task = bar.add_task(f"{name}: preparing", total=None)

    def show(done: int, total: int) -> None:
        bar.update(task, description=name, completed=done, total=total)

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py", description="Time Millijoule and its peers, interleaved."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_ROUNDS} rounds, not {ROUNDS}; of models {', '.join(QUICK)} alone, "
        f"beside {', '.join(QUICK_PEERS[1:])}",
    )
    parser.add_argument("--rounds", type=_positive, help="rounds of each case")
    parser.add_argument(
        "--threads",
        type=_thread_counts,
        default=[n for n in (1, 2) if n <= available_cpus()],
        help="threads for whole sequences, e.g. 1,2 (the other cases use one)",
    )
    parser.add_argument("--cases", type=_some_of(CASES), help=f"some of {', '.join(CASES)}")
    parser.add_argument(
        "--models", type=_some_of(SUBJECTS), help=f"for case models: some of {', '.join(SUBJECTS)}"
    )
    parser.add_argument(
        "--peers",
        type=_some_of(PEERS),
        help=f"for case models: some of {', '.join(PEERS)}",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("build/benchmarks/cache"),
        help="folder for converted models, used again next time (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        type=_folder("spiking-ms"),
        help="spiking-ms model folder (default: random weights)",
    )
    parser.add_argument(
        "--plain-model", type=_folder("plain"), help="plain model folder (default: random weights)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/benchmarks"),
        help="folder for <date>-<cpu>.json and .png (default: %(default)s)",
    )
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="for case models: convert and build into --cache and compare outputs, time nothing",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, but is {text!r}")
    return int(text)


def _thread_counts(text: str) -> list[int]:
    return [_positive(part) for part in text.split(",")]


def _some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """A parser of names separated by commas."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"must be some of {', '.join(known)}, separated by commas, but has {name!r}"
                )
        return names

    return parse


def _folder(variant: str) -> Callable[[str], Path]:
    def check(text: str) -> Path:
        try:
            found = read_folder(Path(text)).variant
        except MjError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        if found != variant:
            raise argparse.ArgumentTypeError(f"must be a {variant} model, but {text} is {found}")
        return Path(text)

    return check


if __name__ == "__main__":
    sys.exit(main())
