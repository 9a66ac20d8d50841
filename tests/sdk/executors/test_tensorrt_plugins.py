"""Plugin layers of the TensorRT executor: our kernels on stand-ins for TensorRT and the GPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import millijoule as mj
from fixtures.binary import BINARY
from fixtures.fake_plugins import PluginTensorRT
from fixtures.fake_tensorrt import Cudart, TensorRT
from fixtures.models import LMUFORMER, build
from millijoule.cli import main
from millijoule.executors.cuda.compile import _compiler, compile_driver
from millijoule.executors.tensorrt import cuda as cuda_module
from millijoule.executors.tensorrt import program as program_module

CASES = {"stream": (LMUFORMER[1], ("--streaming",)), "bits": (BINARY[0], ())}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Name → bundle, and a driver that calculates its kernels as a GPU of 8.7 here."""
    made = {}
    for name, (golden, options) in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        out = folder / "m.mjb"
        build(golden.path, out, "--target", "tensorrt", "--plugins", *options)
        with mj.Bundle.open(out) as bundle:
            source = bundle.read("program/plugins/mma.cu").decode()
        made[name] = out, compile_driver(source, 87, folder, _compiler())
    return made


def machine(monkeypatch: pytest.MonkeyPatch, cache: Path, driver: Path, module: TensorRT) -> None:
    """A machine with a GPU, TensorRT as ``module``, and an empty cache."""
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(program_module, "load_cuda", lambda: cuda_module.Cuda(module._cuda))
    monkeypatch.setenv("MJ_CACHE", str(cache))
    monkeypatch.setenv("MJ_LIBCUDA", str(driver))


@pytest.mark.parametrize(("name", "nodes"), [("stream", 11), ("bits", 13)])
def test_kernels_calculate(
    name: str,
    nodes: int,
    bundles: dict[str, tuple[Path, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Built, kept, loaded again; every layer of ours runs by its kernels, and results are right."""
    out, driver = bundles[name]
    trt = PluginTensorRT(Cudart())
    machine(monkeypatch, tmp_path, driver, trt)
    assert main(["verify", str(out), "--quiet"]) == 0
    assert trt.built == 1
    assert trt.enqueued
    assert trt.enqueued % nodes == 0
    phases = [phase.name for phase, _ in trt.created]
    assert phases == ["BUILD"] * nodes + ["RUNTIME"] * nodes
    with mj.load(out) as session:
        assert session.program.plugins == "kernels of ours for compute capability 8.7"
        assert session.program.engine == "cached"
    assert (trt.built, len(trt.creators)) == (1, 1)
    assert not trt._cuda.live


def fallback(out: Path) -> str:
    """Why the plain graph is used; it must give the right results."""
    assert main(["verify", str(out), "--quiet"]) == 0
    with mj.load(out) as session:
        return str(session.program.plugins)


def test_the_plain_graph_stands_in(
    bundles: dict[str, tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, driver = bundles["stream"]
    machine(monkeypatch, tmp_path / "old", driver, TensorRT(Cudart(), "8.6.1"))
    assert "need TensorRT 10.0 or later, but this one is 8.6.1" in fallback(out)
    trt = PluginTensorRT(Cudart())
    machine(monkeypatch, tmp_path / "no_driver", tmp_path / "none.so", trt)
    assert "the CUDA driver cannot be opened" in fallback(out)
    machine(monkeypatch, tmp_path / "other", driver, trt)
    monkeypatch.setattr(cuda_module.Cuda, "capability", lambda self: "10.3")
    assert fallback(out).endswith("no kernels for compute capability 10.3")
    assert trt.enqueued == 0


def test_a_creator_that_tensorrt_refuses(
    bundles: dict[str, tuple[Path, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, driver = bundles["stream"]
    trt = PluginTensorRT(Cudart())
    trt.creators.append(type("Other", (), {"name": "Other"}))
    machine(monkeypatch, tmp_path, driver, trt)
    assert "does not take the plugin MillijouleKernels" in fallback(out)
    assert main(["verify", str(out)]) == 0
    assert "plugins: plain graph: [tensorrt] it does not take" in capsys.readouterr().out
