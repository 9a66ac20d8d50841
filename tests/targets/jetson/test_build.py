"""Bundles for Jetson: contents, the arm64 program under QEMU, options that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import millijoule as mj
from fixtures.bundles import assert_same_bytes
from fixtures.devices import require
from fixtures.jetson import Gate, build_gate, read_trace, traced, zeros
from millijoule.bundle import CUDA_ENTRY, CUDA_SOURCE
from millijoule.cli import main
from millijoule.errors import UnsupportedError, UsageError


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_gate(tmp_path_factory.mktemp("gate") / "gate.mjb")


def test_the_arm64_program_under_qemu(
    gate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The very library of the bundle, with its machine code, asks for what the manifest says."""
    require("qemu:jetson")
    path = traced(monkeypatch, tmp_path / "trace")
    assert main(["verify", str(gate), "--device", "qemu:jetson"]) == 0
    assert "FAIL" not in capsys.readouterr().out
    with mj.Bundle.open(gate) as bundle:
        cuda = bundle.manifest.cuda
    assert cuda is not None
    launched = [(c[0], *map(int, c[1:7])) for c in read_trace(path).of("launch")]
    assert launched == [(x.kernel, *x.grid, *x.block) for x in cuda.launches]


def test_the_same_bytes_again(gate: Path, tmp_path: Path) -> None:
    assert_same_bytes(gate, build_gate(tmp_path / "again.mjb"))


@pytest.mark.parametrize(("target", "sm"), [("jetson-thor", 110), ("jetson-xavier", 72)])
def test_other_boards(target: str, sm: int, tmp_path: Path) -> None:
    out = build_gate(tmp_path / "g.mjb", target)
    with mj.Bundle.open(out) as bundle:
        assert bundle.manifest.cuda is not None
        assert bundle.manifest.cuda.sms == (sm,)
        assert bundle.manifest.target.triple == "aarch64-linux-gnu"
    assert main(["verify", str(out), "--device", "cuda-emulator", "--quiet"]) == 0


def test_what_is_in_it(gate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Source, tables, and every kernel's resources, which `mj inspect` shows."""
    with mj.Bundle.open(gate) as bundle:
        source, entry = (bundle.read(name).decode() for name in (CUDA_SOURCE, CUDA_ENTRY))
        cuda = bundle.manifest.cuda
        library = bundle.read(bundle.manifest.program.library)
    assert cuda is not None
    for kernel in cuda.kernels:
        assert f"{kernel.name}(" in source
        assert f'"{kernel.name}"' in entry
        assert kernel.name.encode() in library
        assert kernel.spill_bytes == 0
        assert 0 < kernel.occupancy <= 1
    assert main(["inspect", str(gate), "--json", str(tmp_path / "i.json")]) == 0
    assert "occupancy" in capsys.readouterr().out
    shown = json.loads((tmp_path / "i.json").read_text())["cuda"]
    assert len(shown["launches"]) == len(cuda.launches)


def test_check_and_operators(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--ops", "jetson-orin"]) == 0
    assert "mj.lif" in capsys.readouterr().out


def test_options_that_a_gpu_has_not(tmp_path: Path) -> None:
    model = mj.convert(Gate(), example_inputs=(zeros(),))
    out = tmp_path / "g.mjb"
    with pytest.raises(UnsupportedError, match="computes in float32, not float16"):
        mj.build(model, "jetson-orin", out, dtype="float16")
    with pytest.raises(UnsupportedError, match="computes in float32, not int8"):
        mj.build(model, "jetson-orin", out, dtype="int8")
    with pytest.raises(UsageError, match="has a GPU, but threads is 4"):
        mj.build(model, "jetson-orin", out, threads=4)
    assert not out.exists()
