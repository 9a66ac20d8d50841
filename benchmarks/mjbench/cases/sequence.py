"""A whole sequence (batch 1) of the plain model, and of spiking-ms, with one thread and more.

A call takes milliseconds, so on a machine with other work most calls are interrupted, the longer
ones more often. One thread is therefore timed by its CPU time, which is what a clock shows when the
core is idle otherwise; more threads by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from millijoule import Session
from millijoule.executors import aligned_empty
from mjbench import models, onnx_plain, ort
from mjbench.checks import require_close
from mjbench.eager import PlainSequence
from mjbench.floors import KernelRow, kernel_rows, mean_spikes
from mjbench.measure import Contender, interleave, ratio, timed
from mjbench.result import CaseResult, Goal, Settings

CALLS, WARMUP = 5, 2
KERNEL_CALLS = 60
PLAIN, SPIKING = "ours plain", "ours spiking-ms"
PEERS = ("torch eager, by hand", "torch eager, module", "ONNX Runtime, conv", "ONNX Runtime, gemm")


def run_sequence(settings: Settings) -> CaseResult:
    """Time whole sequences; peers run the plain model."""
    plain_folder = settings.plain_model or models.make_folder("plain", settings.work / "plain")
    spiking_folder = settings.model or models.make_folder("spiking-ms", settings.work / "spiking")
    module = models.load_module(plain_folder)
    bundles = {
        name: models.build_bundle(folder, settings.work / f"{name.split()[1]}.mjb", streaming=False)
        for name, folder in ((PLAIN, plain_folder), (SPIKING, spiking_folder))
    }
    x = aligned_empty((1, module.seq_len, module.features), "float32")
    x[...] = np.random.default_rng(2).standard_normal(x.shape, np.float32)
    expected = _expected(module, x)
    counts = settings.threads
    sessions: dict[str, Session] = {}
    contenders, differences = [], {}
    for threads in counts:
        for name, bundle in bundles.items():
            label = _label(name, threads)
            session = sessions[label] = models.load(bundle, threads)
            contender, logits = _ours(label, session, x, threads)
            contenders.append(contender)
            if name == PLAIN:
                differences[contender.name] = require_close(contender.name, logits, expected)
        for contender, logits in _peers(module, x, threads):
            contenders.append(contender)
            differences[contender.name] = require_close(contender.name, logits, expected)
    timings = interleave(
        contenders, settings.rounds, lambda n: settings.progress(n, settings.rounds)
    )
    kernels = {
        label: _kernels(session, x, settings)
        for label, session in sessions.items()
        if session.threads == 1  # floors are those of one core
    }
    for session in sessions.values():
        session.close()
    ratios, goals = [], []
    for threads in counts:
        ours = timings[_label(PLAIN, threads)]
        found = [ratio(timings[_label(peer, threads)], ours) for peer in PEERS]
        spiking = ratio(ours, timings[_label(SPIKING, threads)])
        ratios += [*found, spiking]
        goals += [Goal(f"{r.slower} / {r.faster}", r.value, 1.0) for r in found]
    return CaseResult(
        name="sequence",
        title=f"A whole sequence, batch 1, {module.seq_len} steps × {module.features} features",
        timings=timings,
        ratios=ratios,
        goals=goals,
        notes=[
            "through session.run for us, preallocated buffers for ONNX Runtime",
            "1 thread: CPU time of the calling thread; more threads: wall-clock time",
        ],
        kernels=kernels,
        extra={"shape": list(x.shape), "max_abs_difference": differences},
    )


def _clock(threads: int) -> Callable[[], int]:
    return time.thread_time_ns if threads == 1 else time.perf_counter_ns


def _label(name: str, threads: int) -> str:
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def _expected(module: Any, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return module(torch.from_numpy(x)).numpy()


def _ours(name: str, session: Session, x: np.ndarray, threads: int) -> tuple[Contender, np.ndarray]:
    logits = session.run({"x": x})["logits"]
    contender = Contender(
        name,
        lambda: timed(lambda: session.run({"x": x}), CALLS, WARMUP, _clock(threads)),
        threads,
        "session.run",
    )
    return contender, logits


def _kernels(session: Session, x: np.ndarray, settings: Settings) -> list[KernelRow]:
    spikes = mean_spikes(session, x, 1)
    return kernel_rows(
        session,
        lambda: session.run({"x": x}),
        KERNEL_CALLS,
        spikes,
        settings.loops,
        streaming=False,
    )


def _peers(module: Any, x: np.ndarray, threads: int) -> Iterable[tuple[Contender, np.ndarray]]:
    """Every peer with its logits [1, C]."""
    tensor = torch.from_numpy(x)
    eager: dict[str, tuple[Callable[[Any], Any], str]] = {
        PEERS[0]: (PlainSequence(module), "hand-written, constants folded, torch.inference_mode"),
        PEERS[1]: (module, "converters' module, memory by FFT, torch.inference_mode"),
    }
    for name, (call, setup) in eager.items():

        def block(call: Callable[[Any], Any] = call) -> list[int]:
            torch.set_num_threads(threads)
            with torch.inference_mode():
                return timed(lambda: call(tensor), CALLS, WARMUP, _clock(threads))

        with torch.inference_mode():
            logits = call(tensor).numpy()
        yield Contender(_label(name, threads), block, threads, setup), logits
    for name, form in zip(PEERS[2:], ("conv", "gemm"), strict=True):
        model = onnx_plain.sequence_model(module, form)
        peer = ort.Sequence(model, threads, x[0])
        peer.run()

        def run(peer: ort.Sequence = peer) -> list[int]:
            return timed(peer.run, CALLS, WARMUP, _clock(threads))

        yield Contender(_label(name, threads), run, threads, ort.SETUP), peer.logits.copy()
