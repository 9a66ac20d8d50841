"""The launcher of GPU programs on an emulated driver: what it asks for, what goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.jetson import build_gate, read_trace, traced
from fixtures.models import GOLDENS
from millijoule.bundle import Manifest
from millijoule.cli import main
from millijoule.errors import DeviceError, UsageError
from millijoule.executors import aligned_empty

DEVICE = "cuda-emulator"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two inputs' rows, with an output that no kernel writes."""
    return build_gate(tmp_path_factory.mktemp("gate") / "gate.mjb")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A streaming bundle."""
    out = tmp_path_factory.mktemp("stream") / "s.mjb"
    model = mj.convert(GOLDENS / "lmuformer-spiking-s", streaming=True)
    mj.build(model, "jetson-orin", out).close()
    return out


def test_every_launch_is_the_manifests(
    gate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In order, with the grids that the manifest shows, on memory that was allocated."""
    path = traced(monkeypatch, tmp_path / "trace")
    with mj.load(gate, device=DEVICE) as session:
        session.run(session.bundle.samples()[0])
    trace = read_trace(path)
    _check_launches(trace.of("launch"), session.manifest, int(trace.of("alloc")[0][0]))
    assert trace.of("graph") == [(str(len(trace.of("launch")) + len(trace.of("copy"))),)]
    sizes = [spec.nbytes for spec in session.inputs]
    assert [int(call[1]) for call in trace.of("in")[1:]] == sizes  # the first one is the weights
    assert [int(call[1]) for call in trace.of("out")] == [s.nbytes for s in session.outputs]


def _check_launches(calls: list[tuple[str, ...]], manifest: Manifest, memory: int) -> None:
    assert manifest.cuda is not None
    expected = [(x.kernel, *x.grid, *x.block, x.shared) for x in manifest.cuda.launches]
    assert [(c[0], *map(int, c[1:8])) for c in calls] == expected
    for call in calls:
        assert len(call) > 8
        assert all(0 <= int(address) < memory for address in call[8:])


def test_hooks_clocks_and_single_launches_give_the_same(
    gate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = traced(monkeypatch, tmp_path / "trace")
    with mj.load(gate, device=DEVICE) as session:
        x = session.bundle.samples()[0]
        [first, *_] = session.run(x).values()
        read_trace(path)
        session.program.kernel_times(True)
        [timed, *_] = session.run(x).values()
        assert all(session.program.kernel_ns() > 0)
        session.program.kernel_times(False)
        trace = read_trace(path)
        assert not trace.of("graph")
        _check_launches(trace.of("launch"), session.manifest, 1 << 62)
    monkeypatch.setenv("MJ_CUDA_GRAPHS", "0")
    with mj.load(gate, device=DEVICE) as session:
        [single, *_] = session.run(x).values()
    assert not read_trace(path).of("graph")
    np.testing.assert_array_equal(first, timed)
    np.testing.assert_array_equal(first, single)


def test_any_order_of_threads_gives_the_same(
    gate: Path, stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What depended on the order would be a race."""
    for bundle in (gate, stream):
        results = []
        for seed in ("1", "2", "3"):
            monkeypatch.setenv("MJ_EMULATED_SEED", seed)
            with mj.load(bundle, device=DEVICE) as session:
                results.append(session.run(session.bundle.samples()[0]))
        for other in results[1:]:
            for name, value in results[0].items():
                np.testing.assert_array_equal(value, other[name], name)


def test_states_live_on_the_gpu(
    stream: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two banks, each with its own graph; a reset puts the first one back."""
    path = traced(monkeypatch, tmp_path / "trace")
    with mj.load(stream, device=DEVICE) as session:
        [frames] = session.bundle.samples()[0].values()
        program = session.program
        given = (aligned_empty(frames[:, 0].shape, frames.dtype), np.ones(1, np.int32))
        outputs = tuple(aligned_empty(s.shape, s.dtype) for s in session.outputs)
        runs = []
        for _ in range(2):
            program.reset()
            runs.append([])
            for step in range(3):
                given[0][...] = frames[:, step]
                program.run(given, outputs)
                runs[-1].append([o.copy() for o in outputs])
        trace = read_trace(path)
        assert len(trace.of("graph")) == 6
        weights_and_resets = 1 + 3  # one when it is loaded, two of ours
        assert len(trace.of("in")) == weights_and_resets + 6 * len(given)
        count = len(trace.of("launch")) // 6
        first, second, third = (trace.of("launch")[i * count : (i + 1) * count] for i in range(3))
        assert first == third
        assert first != second  # the other bank's addresses
    for a, b in zip(runs[0], runs[1], strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MJ_EMULATED_SM", "86", "the GPU is sm_86, but the program has code for sm_87; rebuild"),
        ("MJ_EMULATED_MEMORY", "1000", r"has no \d+ bytes of memory left"),
        ("MJ_CUDA_DEVICE", "1", "there are 1 GPUs, but number 1 is asked for"),
    ],
)
def test_a_gpu_that_cannot_run_it(
    gate: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(DeviceError, match=message):
        mj.load(gate, device=DEVICE)


def test_a_newer_gpu_of_the_generation_runs_it(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MJ_EMULATED_SM", "89")
    with mj.load(gate, device=DEVICE) as session:
        session.run(session.bundle.samples()[0])


def test_no_driver(gate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The launcher on a machine without a GPU: the emulator's driver is not there, either."""
    from millijoule.executors.cuda import emulated

    program, _ = emulated.emulated_libraries(mj.Bundle.open(gate))
    missing = tmp_path / "libcuda.so.1"
    monkeypatch.setattr(emulated, "emulated_libraries", lambda bundle: (program, missing))
    with pytest.raises(DeviceError, match="no NVIDIA driver: cannot open"):
        mj.load(gate, device=DEVICE)


def test_its_time_is_refused(gate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mj.load(gate, device=DEVICE) as session, pytest.raises(UsageError, match="only checks"):
        mj.profile(session)
    assert main(["run", str(gate)]) == 4
    assert "for jetson-orin (aarch64-linux-gnu)" in capsys.readouterr().err
