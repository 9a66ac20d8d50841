"""Whole models against other runtimes: same weights, input, precision and threads, interleaved.

Every contender is a process of its own (`mjbench.peers`); they take turns in blocks. With one
thread a call is timed by the CPU time of its process, which is what the clock shows when nothing
else runs there, and by the clock; with more threads by the clock. A contender that cannot be
installed, cannot convert a model or computes something else is listed with the reason.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import millijoule
from mjbench import subjects
from mjbench.checks import require_close
from mjbench.measure import Contender, Ratio, Timing, interleave, ratio
from mjbench.peers import OURS, PEERS, module_of, versions
from mjbench.peers.process import PeerError, Worker, run_action
from mjbench.result import CaseResult, Settings

QUICK = ("vit-tiny", "mobileone-s0", "fmvit-s")
QUICK_PEERS = (OURS, "ONNX Runtime", "OpenVINO", "torch eager")  # whose conversions take seconds
BLOCK_NS = 150_000_000
MOST_CALLS, FEWEST_CALLS = 40, 3
SETTLE_SECONDS = 0.02  # OpenMP threads spin for some milliseconds after their last task


@dataclass
class Served:
    """A contender at work; wall-clock samples lie beside the CPU times that a block returns."""

    peer: str
    worker: Worker
    threads: int
    calls: int
    wall: list[list[int]] = field(default_factory=list)

    def block(self) -> Sequence[int]:
        """One block: CPU time with one thread, else by the clock."""
        wall, cpu = self.worker.block(self.calls, warmup=1)
        self.wall.append(wall)
        return cpu if self.threads == 1 else wall


@dataclass
class Found:
    """Results of the whole case."""

    timings: dict[str, Timing] = field(default_factory=dict)
    wall: dict[str, Timing] = field(default_factory=dict)
    ratios: list[Ratio] = field(default_factory=list)
    wall_ratios: list[Ratio] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)

    def leave_out(self, model: str, peer: str, reason: str) -> None:
        """Note why a contender does not take part."""
        self.missing.append({"model": model, "contender": peer, "reason": reason})


def run_models(settings: Settings) -> CaseResult:
    """Time every chosen model under every contender that can run it."""
    found = Found()
    available = _available(settings.peers, found)
    total = len(settings.models) * len(settings.threads)
    rounds = 0 if settings.prepare_only else settings.rounds
    for index, name in enumerate(settings.models):
        folder = settings.cache / f"{name}-{subjects.fingerprint()}"
        try:
            _once(folder, lambda f, name=name: run_action(f / "log", "reference", name, str(f)))
        except PeerError as error:
            found.leave_out(name, "all", f"torch cannot run or export it: {error}")
            continue
        ready = _prepared(name, folder, available, found)
        for turn, threads in enumerate(settings.threads):
            done = (index * len(settings.threads) + turn) * rounds

            def progress(n: int, done: int = done) -> None:
                settings.progress(done + n, total * rounds)

            _race(name, folder, ready, threads, rounds, found, progress)
    return CaseResult(
        name="models",
        title="Whole models, batch 1, float32",
        timings=found.timings,
        ratios=found.ratios,
        notes=[
            "1 thread: CPU time of the contender's process; more: wall clock",
            *(f"left out: {m['model']}, {m['contender']}: {m['reason']}" for m in found.missing),
        ],
        columns={
            name: {
                "wall µs": f"{found.wall[name].median_us:,.0f}",
                "× ours": _times_ours(found, name),
            }
            for name in found.timings
        },
        extra={
            "left_out": found.missing,
            "max_abs_difference": found.differences,
            "versions": {peer: versions(peer) for peer in available},
            "setups": {peer: module_of(peer).SETUP for peer in available},
            "sources": {name: subjects.SUBJECTS[name].source for name in settings.models},
            "wall": [timing.to_dict() for timing in found.wall.values()],
            "wall_ratios": [r.to_dict() for r in found.wall_ratios],
        },
    )


def _times_ours(found: Found, name: str) -> str:
    for r in found.ratios:
        if r.slower == name:
            return f"{r.value:.2f}"
    return "1" if f", {OURS}, " in name else "–"


def _available(peers: Iterable[str], found: Found) -> list[str]:
    """Contenders whose packages are installed."""
    installed = []
    for peer in peers:
        try:
            versions(peer)
        except importlib.metadata.PackageNotFoundError as error:
            found.leave_out("all", peer, f"package {error.name} is not installed")
        else:
            installed.append(peer)
    return installed


def _prepared(model: str, folder: Path, peers: Iterable[str], found: Found) -> dict[str, Path]:
    """Contenders that could convert the model, each with the folder of its files."""
    ready = {}
    for peer in peers:
        module = module_of(peer)
        source = [Path(str(module.__file__))]
        key = (
            _source_key() if peer == OURS else subjects.fingerprint(*module.PACKAGES, files=source)
        )
        target = folder / f"{PEERS[peer]}-{key}"
        try:
            _once(
                target,
                lambda f, peer=peer: run_action(f / "log", "prepare", peer, str(f), model),
            )
        except PeerError as error:
            found.leave_out(model, peer, f"cannot convert it: {error}")
        else:
            ready[peer] = target
    return ready


def _once(folder: Path, make: Callable[[Path], None]) -> None:
    """Fill ``folder`` unless that has been done; a failure is remembered, too."""
    done, failed = folder / "done", folder / "failed"
    if failed.exists():
        raise PeerError(failed.read_text(encoding="utf-8"))
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        make(folder)
    except PeerError as error:
        failed.write_text(str(error), encoding="utf-8")
        raise
    done.touch()


def _source_key() -> str:
    """Changes with every change to our sources, so that what is timed is what is there."""
    digest = hashlib.sha256()
    root = Path(millijoule.__file__).parent
    for folder in (root, root / "converters", root / "targets"):
        for path in sorted(folder.resolve().rglob("*.[pch]*")):
            if path.suffix in (".py", ".c", ".h"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _race(
    model: str,
    folder: Path,
    ready: dict[str, Path],
    threads: int,
    rounds: int,
    found: Found,
    progress: Callable[[int], None],
) -> None:
    """Compare outputs, then interleave all contenders of one model (``rounds`` 0: do not)."""
    expected = np.load(folder / "expected.npy")
    served: list[Served] = []
    try:
        for peer, target in ready.items():
            label = _label(model, peer, threads)
            try:
                contender = _start(peer, target, threads)
            except PeerError as error:
                found.leave_out(model, peer, f"cannot run it with {threads} threads: {error}")
                continue
            try:
                output = np.load(target / "output.npy")
                found.differences[label] = require_close(label, output, expected)
            except RuntimeError as error:
                contender.worker.close()
                found.leave_out(model, peer, str(error))
                continue
            served.append(contender)
        if served and rounds:
            _measure(model, served, rounds, found, progress)
    finally:
        for contender in served:
            contender.worker.close()


def _label(model: str, peer: str, threads: int) -> str:
    return f"{model}, {peer}, {threads} thread{'s' if threads > 1 else ''}"


def _start(peer: str, folder: Path, threads: int) -> Served:
    """Load, and find out how many calls make a block of `BLOCK_NS`."""
    worker = Worker(peer, folder, threads)
    try:
        wall, _ = worker.block(FEWEST_CALLS, warmup=1)
    except PeerError:
        worker.close()
        raise
    calls = int(np.clip(BLOCK_NS // max(min(wall), 1), FEWEST_CALLS, MOST_CALLS))
    return Served(peer, worker, threads, calls)


def _measure(
    model: str,
    served: Sequence[Served],
    rounds: int,
    found: Found,
    progress: Callable[[int], None],
) -> None:
    labels = {
        contender.peer: _label(model, contender.peer, contender.threads) for contender in served
    }
    contenders = [
        Contender(labels[s.peer], s.block, s.threads, module_of(s.peer).SETUP) for s in served
    ]
    timings = interleave(contenders, rounds, progress, SETTLE_SECONDS)
    for contender, s in zip(contenders, served, strict=True):
        found.wall[contender.name] = Timing(contender, np.array(s.wall[1:], np.uint64))
    found.timings |= timings
    ours = labels.get(OURS)
    if ours is not None:
        for peer, label in labels.items():
            if peer != OURS:
                found.ratios.append(ratio(timings[label], timings[ours]))
                found.wall_ratios.append(ratio(found.wall[label], found.wall[ours]))
