"""One step of the paper-size model, frame by frame, one thread.

A block is a whole sequence of 128 frames from a reset state, every step timed: steps differ (the
memory's history grows, spikes come and go), so that single steps repeated would not do. The first
five, which fill the delay line and skip work, do not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Any

import numpy as np
import torch

from millijoule import Session
from millijoule.converters.lmuformer.convert import prefix_logits
from millijoule.converters.stream import StreamStep
from millijoule.executors import aligned_empty
from mjbench import models, onnx_plain, ort
from mjbench.checks import require_close
from mjbench.eager import ModuleStep, SpikingStep
from mjbench.floors import KernelRow, kernel_rows, mean_spikes
from mjbench.measure import Contender, interleave, ratio
from mjbench.result import CaseResult, Goal, Settings

DELAY = 5
C_ENTRY, PROGRAM, STREAM = "ours, C entry", "ours, executor", "ours, stream.step"
OUR_PLAIN = "ours plain, C entry"
EAGER, EAGER_MODULE = "torch eager, by hand", "torch eager, StreamStep"
ORT_PLAIN, ORT_CALL = "ONNX Runtime, plain dense", "ONNX Runtime, empty graph"
GOAL_EAGER, GOAL_ORT = 20.0, 5.0
KERNEL_SEQUENCES = 6


def run_streaming(settings: Settings) -> CaseResult:
    """Time a step of spiking-ms, and of the plain model as dense peers compute it."""
    spiking_folder = settings.model or models.make_folder("spiking-ms", settings.work / "spiking")
    plain_folder = settings.plain_model or models.make_folder("plain", settings.work / "plain")
    spiking, plain = models.load_module(spiking_folder), models.load_module(plain_folder)
    session, plain_session = (
        models.load(models.build_bundle(folder, settings.work / f"{name}-step.mjb", streaming=True))
        for name, folder in (("spiking", spiking_folder), ("plain", plain_folder))
    )
    frames = _frames(spiking)
    contenders = [
        *_ours(settings, session, plain_session, frames),
        *_torch(spiking, frames),
        *_ort(plain, plain_session, settings, frames),
    ]
    differences = _check(session, spiking, frames)
    timings = interleave(
        contenders, settings.rounds, lambda n: settings.progress(n, settings.rounds)
    )
    rates = models.spike_rates(spiking, torch.from_numpy(frames)[None])
    against = [ratio(timings[name], timings[C_ENTRY]) for name in (EAGER, EAGER_MODULE, ORT_PLAIN)]
    api = [ratio(timings[name], timings[STREAM]) for name in (EAGER, EAGER_MODULE, ORT_PLAIN)]
    api.append(ratio(timings[ORT_PLAIN], timings[PROGRAM]))
    kernels = {
        C_ENTRY: _kernels(session, frames, settings),
        OUR_PLAIN: _kernels(plain_session, frames, settings),
    }
    result = CaseResult(
        name="streaming",
        title=f"One streaming step, batch 1, {frames.shape[1]} features, 1 thread",
        timings=timings,
        ratios=[*against, *api, ratio(timings[ORT_PLAIN], timings[OUR_PLAIN])],
        goals=[
            Goal(f"{EAGER_MODULE} / {C_ENTRY}", against[1].value, GOAL_EAGER),
            Goal(f"{EAGER} / {C_ENTRY}", against[0].value, GOAL_EAGER),
            Goal(f"{ORT_PLAIN} / {C_ENTRY}", against[2].value, GOAL_ORT),
            Goal(f"{EAGER_MODULE} / {STREAM}", api[1].value, GOAL_EAGER),
            Goal(f"{ORT_PLAIN} / {STREAM}", api[2].value, GOAL_ORT),
        ],
        notes=[
            f"spike rates {min(rates.values()):.1%} to {max(rates.values()):.1%}",
            f"model {'given' if settings.model else 'with random weights'}",
        ],
        kernels=kernels,
        extra={
            "frames": list(frames.shape),
            "spike_rates": rates,
            "max_abs_difference": differences,
            "model": dict(session.manifest.model.hparams),
        },
    )
    session.close()
    plain_session.close()
    return result


def _frames(module: Any) -> np.ndarray:
    rng = np.random.default_rng(1)
    frames = aligned_empty((module.seq_len, module.features), "float32")
    frames[...] = rng.standard_normal(frames.shape, np.float32)
    return frames


def _ours(
    settings: Settings, session: Session, plain: Session, frames: np.ndarray
) -> Iterable[Contender]:
    def through_c(which: Session) -> Callable[[], Any]:
        def block() -> Any:
            settings.loops.time_steps(which, frames)
            return settings.loops.time_steps(which, frames)[0][DELAY:]

        return block

    x = aligned_empty(session.inputs[0].shape, "float32")
    valid = aligned_empty((1,), "int32")
    valid[...] = 1
    # tuples, which stay bound from call to call
    inputs, out = (x, valid), tuple(aligned_empty(s.shape, s.dtype) for s in session.outputs)

    def by_program(t: int) -> None:
        x[...] = frames[t : t + 1]
        session.program.run(inputs, out)

    stream = session.stream()

    def by_stream(t: int) -> None:
        stream.step({"x": frames[t : t + 1]})

    steps = len(frames)
    yield Contender(C_ENTRY, through_c(session), setup="mj_run called from a C loop")
    yield Contender(
        PROGRAM,
        _block(by_program, session.program.reset, steps),
        setup="program.run from Python, frame copied into a bound buffer",
    )
    yield Contender(STREAM, _block(by_stream, stream.reset, steps), setup="the public Python API")
    yield Contender(OUR_PLAIN, through_c(plain), setup="plain model, mj_run called from a C loop")


def _torch(module: Any, frames: np.ndarray) -> Iterable[Contender]:
    x = [torch.from_numpy(frames[t : t + 1]) for t in range(len(frames))]
    peers: list[tuple[str, Any, str]] = [
        (EAGER, SpikingStep(module), "hand-written, constants folded, torch.inference_mode"),
        (
            EAGER_MODULE,
            ModuleStep(StreamStep(module, DELAY, 1, module.features).eval()),
            "converters' StreamStep, torch.inference_mode",
        ),
    ]
    for name, peer, setup in peers:

        def block(peer: Any = peer) -> list[int]:
            torch.set_num_threads(1)
            with torch.inference_mode():
                return _block(lambda t: peer.step(x[t]), peer.reset, len(x))()

        yield Contender(name, block, setup=setup)


def _ort(module: Any, ours: Session, settings: Settings, frames: np.ndarray) -> Iterable[Contender]:
    states = onnx_plain.state_shapes(module)
    peer = ort.Step(onnx_plain.step_model(module), states, module.features)
    theirs = np.concatenate([peer.step(frame[None]).copy() for frame in frames])
    expected = settings.loops.time_steps(ours, frames)[1]
    require_close("ONNX Runtime's plain step", theirs[DELAY:], expected[DELAY:])
    yield Contender(
        ORT_PLAIN,
        _block(lambda t: peer.step(frames[t : t + 1]), peer.reset, len(frames)),
        setup=f"{ort.SETUP}, states in two bound banks",
    )
    empty = ort.Sequence(ort.call_cost_model({"x": [1, module.features]}), 1, frames[:1], "x_out")
    yield Contender(
        ORT_CALL,
        _block(lambda _: empty.run(), lambda: None, len(frames)),
        setup="one Identity of a frame: what calling ONNX Runtime from Python costs",
    )


def _block(
    step: Callable[[int], object], reset: Callable[[], None], steps: int
) -> Callable[[], list[int]]:
    """A warm-up sequence, then a timed one."""

    def block() -> list[int]:
        clock = time.perf_counter_ns
        ns: list[int] = []
        for _ in range(2):
            reset()
            ns.clear()
            for t in range(steps):
                start = clock()
                step(t)
                ns.append(clock() - start)
        return ns[DELAY:]

    return block


def _check(session: Session, module: Any, frames: np.ndarray) -> dict[str, float]:
    """All forms of the spiking step must agree; returns largest differences from torch's module."""
    expected = _prefix(module, frames)
    streamed = session.run({"x": frames[None]})["all_seq_logits"][:, 0]
    hand = SpikingStep(module)
    with torch.inference_mode():
        steps = [hand.step(torch.from_numpy(f[None])) for f in frames]
    by_hand = np.concatenate([s.numpy() for s in steps if s is not None])
    return {
        "ours": require_close("our spiking step", streamed, expected),
        EAGER: require_close("the hand-written eager step", by_hand, expected[: len(by_hand)]),
    }


def _prefix(module: Any, frames: np.ndarray) -> np.ndarray:
    """Prefix logits [N, C] from the parallel form."""
    with torch.no_grad():
        return prefix_logits(module, torch.from_numpy(frames)[None])[:, 0]


def _kernels(session: Session, frames: np.ndarray, settings: Settings) -> list[KernelRow]:
    """Median time of each kernel over some sequences, beside its floor."""
    x, valid = aligned_empty(session.inputs[0].shape, "float32"), aligned_empty((1,), "int32")
    # tuples, which stay bound from call to call
    inputs, out = (x, valid), tuple(aligned_empty(s.shape, s.dtype) for s in session.outputs)
    spikes = mean_spikes(session, frames[None], len(frames))
    valid[...] = 1
    order = cycle(range(len(frames)))

    def step() -> None:
        now = next(order)
        if now == 0:
            session.program.reset()
        x[...] = frames[now]
        session.program.run(inputs, out)

    repeats = KERNEL_SEQUENCES * len(frames)
    return kernel_rows(session, step, repeats, spikes, settings.loops, streaming=True)
