"""The runner and the wire to it: results, states, taps, counts, and every way to fail."""

from __future__ import annotations

import gc
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.devices import require
from fixtures.shared import shared
from fixtures.tiny_devices import build_tiny_for
from fixtures.tiny_model.build import reference, samples, scale
from millijoule.bundle import Bundle
from millijoule.errors import BundleError, DeviceError, UsageError
from millijoule.executors import aligned_empty
from millijoule.remote import get_device
from millijoule.remote.emulated import EmulatedProgram
from millijoule.verification import verify

CORES = ("cortex-a72", "armv7", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55")
X = samples()[0]["x"]


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    require(f"qemu:{name}")
    return name


@pytest.fixture
def tiny(core: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, f"tiny-{core}.mjb", lambda path: build_path(path, core))


def build_path(path: Path, core: str) -> None:
    build_tiny_for(path, core)


@pytest.fixture
def counted(core: str, tiny: Path) -> Iterator[EmulatedProgram]:
    program = EmulatedProgram(Bundle.open(tiny), get_device(f"qemu:{core}"), counting=True)
    yield program
    program.close()


def outputs() -> list[np.ndarray]:
    """Room for the output of the plain model."""
    return [aligned_empty((2, 1), "float32")]


def test_runs_and_taps(core: str, tiny: Path) -> None:
    with mj.load(tiny, device=f"qemu:{core}") as session:
        got = session.run({"x": X}, ["spikes:scale"])
        again = session.run({"x": np.concatenate([X, X + 1, -X])})
    np.testing.assert_array_equal(got["y"], reference(X)["y"])
    np.testing.assert_array_equal(got["spikes:scale"], scale(X))
    np.testing.assert_array_equal(again["y"], reference(np.concatenate([X, X + 1, -X]))["y"])


def test_streams_are_independent(core: str, tmp_path: Path) -> None:
    path = build_tiny_for(tmp_path / "stream.mjb", core, "streaming")
    x = samples("streaming")[0]["x"]
    expected = reference(x, "streaming")["all_seq_logits"]
    with mj.load(path, device=f"qemu:{core}") as session:
        assert all(check.passed for check in verify(session))
        with session.stream() as first, session.stream() as second:
            got = [first.step({"x": frame[np.newaxis]}) for frame in x[0]]
            assert second.step({"x": x[:, 0]}) is None
            got += first.flush()
            first.reset()
            assert [first.step({"x": x[:, i]}) for i in range(2)] == [None, None]
            third = first.step({"x": x[:, 2]})
    answers = [y["logits"] for y in got if y is not None]
    np.testing.assert_array_equal(np.stack(answers), expected)
    assert third is not None
    np.testing.assert_array_equal(third["logits"], expected[0])


def test_counts_are_exact_and_repeat(core: str, tiny: Path, counted: EmulatedProgram) -> None:
    def count(program: EmulatedProgram, kernels: bool) -> tuple[int, list[int]]:
        found = program.run_counted([X], outputs(), kernels=kernels)
        return found.instructions, found.kernels.tolist()

    counted.run([X], outputs())  # the first run notes the workspace's peak: two more instructions
    plain, hooked = count(counted, False), count(counted, True)
    assert plain[1] == [0, 0]
    assert min(hooked[1]) > 0
    assert sum(hooked[1]) < hooked[0]
    # each kernel has two hooks; each of them marks, returns, and is called with three arguments
    assert 2 * 2 * 4 <= hooked[0] - plain[0] <= 2 * 2 * 12
    assert count(counted, False) == plain
    assert count(counted, True) == hooked
    with_taps = counted.run_tapped([X], outputs(), ["spikes:scale"])
    assert list(with_taps) == ["spikes:scale"]
    other = EmulatedProgram(Bundle.open(tiny), get_device(f"qemu:{core}"), counting=True)
    try:
        other.run([X], outputs())
        assert count(other, True) == hooked
    finally:
        other.close()


def test_more_work_takes_that_many_more_instructions(core: str, tmp_path: Path) -> None:
    """200 rounds of two instructions, in assembly so that no compiler has a say."""
    loop = '__asm__ volatile("%s" : : : "r4", "cc", "memory");'
    if core == "cortex-a72":
        code = r"mov w4, #200\n1: subs w4, w4, #1\nb.ne 1b"
        loop = loop.replace('"r4"', '"x4"')
    else:
        code = r"mov r4, #200\n1: subs r4, r4, #1\nbne 1b"
    loop = loop.replace("%s", code)
    old = "float *copy = __TVM"
    path = build_tiny_for(tmp_path / "more.mjb", core, replace={old: f"{loop}\n  {old}"})
    more = kernel_counts(path, core)
    base = kernel_counts(build_tiny_for(tmp_path / "base.mjb", core), core)
    # r4 is the callee's to save: the compiler may now push and pop it, or another register less
    assert abs(more[1] - base[1] - 401) <= 6
    assert more[0] == base[0]


def kernel_counts(path: Path, core: str) -> list[int]:
    program = EmulatedProgram(Bundle.open(path), get_device(f"qemu:{core}"), counting=True)
    try:
        counts = program.run_counted([X], outputs(), kernels=True)
    finally:
        program.close()
    return [int(count) for count in counts.kernels]


def test_stack_high_water(core: str, tmp_path: Path, counted: EmulatedProgram) -> None:
    """A kernel that writes 3000 bytes of its frame is seen to."""
    base = counted.run_counted([X], outputs(), stack=True).stack_bytes
    assert 0 < base < 4096
    assert counted.run_counted([X], outputs()).stack_bytes == 0
    old = "float *copy = __TVM"
    frame = "volatile char frame[3000]; for (int i = 0; i < 3000; i++) frame[i] = 1;"
    path = build_tiny_for(tmp_path / "deep.mjb", core, replace={old: f"{frame}\n  {old}"})
    program = EmulatedProgram(Bundle.open(path), get_device(f"qemu:{core}"), counting=True)
    try:
        deep = program.run_counted([X], outputs(), stack=True).stack_bytes
    finally:
        program.close()
    assert 3000 <= deep <= base + 3000 + 256


def test_failing_kernel_is_named(core: str, tmp_path: Path) -> None:
    old = "return __TVMBackendFreeWorkspace(1, 0, copy);"
    path = build_tiny_for(tmp_path / "fail.mjb", core, replace={old: "return -1;"})
    with (
        mj.load(path, device=f"qemu:{core}") as session,
        pytest.raises(DeviceError, match=r"a kernel failed in kernel 'row_sum' \(layer 'head'"),
    ):
        session.run({"x": X})


def test_crash_is_reported_and_leaves_nothing(
    core: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    old = "float *copy = __TVM"
    path = build_tiny_for(tmp_path / "crash.mjb", core, replace={old: f"__builtin_trap();\n{old}"})
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    session = mj.load(path, device=f"qemu:{core}")
    with pytest.raises(DeviceError, match=r"ended with exit code -?\d+: .*(fault|signal)"):
        session.run({"x": X})
    with pytest.raises(UsageError, match="closed"):
        session.run({"x": X})
    session.close()
    assert list(scratch.iterdir()) == []


def test_hang_is_ended(core: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = "float *copy = __TVM"
    replace = {old: f'for (;;) __asm__ volatile("");\n{old}'}
    path = build_tiny_for(tmp_path / "hang.mjb", core, replace=replace)
    session = mj.load(path, device=f"qemu:{core}")
    monkeypatch.setattr(session.program._requests._channel, "_timeout", 1.0)  # type: ignore[attr-defined]
    with pytest.raises(DeviceError, match="no answer within 1 s; set MJ_DEVICE_TIMEOUT"):
        session.run({"x": X})
    session.close()


def test_library_for_another_manifest_is_refused(core: str, tmp_path: Path) -> None:
    path = build_tiny_for(
        tmp_path / "other.mjb", core, replace={".arena_bytes = 128": ".arena_bytes = 192"}
    )
    # where memory is sized by the manifest, the program does not even start
    with pytest.raises((BundleError, DeviceError), match="arena"):
        mj.load(path, device=f"qemu:{core}")


def test_a_forgotten_session_ends_its_emulator(core: str, tiny: Path) -> None:
    session = mj.load(tiny, device=f"qemu:{core}")
    process = session.program._requests._channel._process  # type: ignore[attr-defined]
    assert isinstance(process, subprocess.Popen)
    assert process.poll() is None
    del session
    gc.collect()
    assert process.poll() is not None


def test_closed_program(counted: EmulatedProgram) -> None:
    counted.close()
    counted.close()
    with pytest.raises(UsageError, match="closed"):
        counted.run([X], outputs())


def test_what_an_emulated_program_refuses(counted: EmulatedProgram) -> None:
    with pytest.raises(UsageError, match="no clock"):
        counted.kernel_times(True)
    counted.kernel_times(False)
    counted.clear_kernel_ns()
    assert counted.kernel_ns().tolist() == [0, 0]
    with pytest.raises(UsageError, match="unknown tap 'z'; taps: spikes:scale"):
        counted.run_tapped([X], outputs(), ["z"])
    with pytest.raises(UsageError, match=r"\[x\] must be float32 of shape \[2, 4\]"):
        counted.run([X[:1]], outputs())
    with pytest.raises(UsageError, match="takes 1 arrays"):
        counted.run([], outputs())
    with pytest.raises(UsageError, match="threads must be"):
        counted.set_threads(0)
