"""The C program of examples/linux_c, linked with cross-compiled libraries, on emulated cores."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.devices import require
from fixtures.models import LMUFORMER, golden_bundle
from millijoule.bundle import Bundle
from millijoule.remote.devices import DEVICES
from millijoule.targets import toolchain
from millijoule.targets.target import get_target

GOLDEN = LMUFORMER[1]
SOURCE = Path(__file__).parents[2] / "examples/linux_c/main.c"
STRICT = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


def c_program(bundle: Bundle, core: str, folder: Path) -> list[str]:
    """Link the program with the bundle's library; the command that runs it on an emulated core."""
    for name in ("libmodel.so", "weights.bin"):
        (folder / name).write_bytes(bundle.read(f"program/{name}"))
    program = folder / "model"
    include = f"-I{toolchain.runtime_include()}"
    link = ["-L", str(folder), "-lmodel", "-o", str(program)]
    toolchain.find_compiler(get_target(core)).run([*STRICT, include, str(SOURCE), *link])
    device = DEVICES[f"qemu:{core}"]
    emulator = [device.emulator, "-cpu", device.cpu, "-L", device.sysroot]
    return [*emulator, "-E", f"LD_LIBRARY_PATH={folder}", str(program), str(folder / "weights.bin")]


def run(command: list[str], data: bytes) -> np.ndarray:
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, np.float32)


@pytest.mark.parametrize("core", ["cortex-a72", "armv7"])
def test_whole_sequences(
    core: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    require(f"qemu:{core}")
    x = GOLDEN.inputs["x"]
    with Bundle.open(golden_bundle(tmp_path_factory, GOLDEN, "--target", core)) as bundle:
        got = run(c_program(bundle, core, tmp_path), x.tobytes())
    expected = GOLDEN.outputs["logits"]
    np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("core", ["cortex-a72", "armv7"])
def test_a_stream(
    core: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """State is carried from step to step; a step's inputs are a frame and its validity flags."""
    require(f"qemu:{core}")
    form = ("--streaming",)
    with mj.load(golden_bundle(tmp_path_factory, GOLDEN, *form)) as host:
        recorded: list[bytes] = []
        expected = []
        original = host.program.run

        def record(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
            recorded.append(b"".join(array.tobytes() for array in inputs))
            original(inputs, outputs)
            expected.append(np.concatenate([array.ravel() for array in outputs]))

        monkeypatch.setattr(host.program, "run", record)
        host.run({"x": GOLDEN.inputs["x"][:1]})
    with Bundle.open(golden_bundle(tmp_path_factory, GOLDEN, "--target", core, *form)) as bundle:
        got = run(c_program(bundle, core, tmp_path), b"".join(recorded))
    np.testing.assert_allclose(got, np.concatenate(expected), rtol=0, atol=1e-5)


def test_too_short_weights_are_refused(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    core = "cortex-a72"
    require(f"qemu:{core}")
    with Bundle.open(golden_bundle(tmp_path_factory, GOLDEN, "--target", core)) as bundle:
        command = c_program(bundle, core, tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    done = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=300)
    assert done.returncode == 1
    assert b"weights" in done.stderr
