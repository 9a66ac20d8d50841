"""The TensorRT executor against stand-ins: engines kept and rebuilt, states, times, errors."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import millijoule as mj
from fixtures.fake_tensorrt import Cudart, TensorRT
from fixtures.models import LMUFORMER, build
from millijoule.bundle import write_bundle
from millijoule.cli import main
from millijoule.executors.tensorrt import cuda as cuda_module
from millijoule.executors.tensorrt import program as program_module


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tensorrt")
    for name, options in (("whole", ()), ("stream", ("--streaming",))):
        build(LMUFORMER[0].path, folder / f"{name}.mjb", "--target", "tensorrt", *options)
    return {name: folder / f"{name}.mjb" for name in ("whole", "stream")}


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorRT:
    """A machine with a GPU and an empty cache."""
    return machine(monkeypatch, tmp_path)


def machine(monkeypatch: pytest.MonkeyPatch, cache: Path, version: str = "10.3.0") -> TensorRT:
    library = Cudart()
    module = TensorRT(library, version)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(program_module, "load_cuda", lambda: cuda_module.Cuda(library))
    monkeypatch.setenv("MJ_CACHE", str(cache))
    return module


@pytest.mark.parametrize("name", ["whole", "stream"])
def test_verify(name: str, bundles: dict[str, Path], trt: TensorRT) -> None:
    """Every tensor goes through device memory and comes back; states go round."""
    assert main(["verify", str(bundles[name]), "--quiet"]) == 0
    assert trt.built == 1
    assert not trt._cuda.live  # closed sessions hold nothing


def test_engines_are_kept(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By TensorRT version, GPU, graph and recipe; a damaged one is built again."""
    first = machine(monkeypatch, tmp_path)
    for expected in (1, 1):
        with mj.load(bundles["whole"]) as session:
            assert first.built == expected
            assert session.program.plugins == ""  # nothing to say of plugins
    other = machine(monkeypatch, tmp_path, "10.4.0")
    with mj.load(bundles["whole"]):
        assert other.built == 1
    for engine in (tmp_path / "tensorrt").glob("*.engine"):
        engine.write_bytes(b"damaged")
    again = machine(monkeypatch, tmp_path)
    with mj.load(bundles["whole"]):
        assert again.built == 1


def test_a_range_of_batches(tmp_path: Path, trt: TensorRT) -> None:
    """The profile is built with, and the context told which batch it is."""
    out = tmp_path / "range.mjb"
    build(LMUFORMER[1].path, out, "--target", "tensorrt", "--batches", "1,2,8")
    assert main(["verify", str(out), "--quiet"]) == 0
    (ranges,) = trt.profiles
    assert [shape[0] for shape in ranges["x"]] == [1, 2, 8]
    with mj.load(out) as session:
        program = session.program
        program.kernel_times(True)
        program.kernel_times(False)  # a new context, told again
        session.run(session.bundle.samples()[0])


def test_times_per_layer(bundles: dict[str, Path], trt: TensorRT) -> None:
    """A fused layer's time is its first operator's; what is nobody's is left out."""
    with mj.load(bundles["whole"]) as session:
        program = session.program
        program.kernel_times(True)
        session.run(session.bundle.samples()[0])
        ns = program.kernel_ns()
        program.kernel_times(False)
        session.run(session.bundle.samples()[0])
    assert ns[1] == 250_000
    assert ns.sum() == 250_000
    assert program.times_kernels


def test_a_graph_that_tensorrt_refuses(
    bundles: dict[str, Path], trt: TensorRT, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trt.refuse = True
    assert main(["run", str(bundles["whole"])]) == 4
    assert "UNSUPPORTED_NODE" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.engine"))


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(mj.DeviceError, match="no NVIDIA GPU"):
        cuda_module.Cuda(Cudart(devices=0))


def test_failures_of_cuda() -> None:
    cuda = cuda_module.Cuda(Cudart())
    buffer = cuda_module.Buffer(cuda, 16)
    with pytest.raises(mj.DeviceError, match="do not fit"):
        buffer.upload(np.zeros(8, np.float32), 1)
    buffer.free()
    with pytest.raises(mj.DeviceError, match="cudaFree failed: invalid argument"):
        buffer.free()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("precision", None),
        ("precision", "bfloat16"),
        ("precision", ["float16"]),
        ("workspace_mb", None),
        ("workspace_mb", "1024"),
        ("workspace_mb", True),
        ("workspace_mb", 0),
        ("workspace_mb", 1 << 60),
        ("tf32", 1),
        ("profiles", {}),
        ("profiles", [["x"]]),
        ("profiles", [{"x": [[1, 4], [2, 4]]}]),
        ("profiles", [{"x": [[1, 4], [2, 4], [8]]}]),
        ("profiles", [{"x": [[2, 4], [1, 4], [8, 4]]}]),
        ("profiles", [{"x": [[1, "4"], [2, 4], [8, 4]]}]),
    ],
)
def test_a_damaged_recipe(
    field: str,
    value: Any,
    bundles: dict[str, Path],
    tmp_path: Path,
    trt: TensorRT,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line and nothing built, not a failure inside of TensorRT; None: the field is missing."""
    with mj.Bundle.open(bundles["whole"]) as bundle:
        files: dict[str, bytes | Path] = {n: bundle.read(n) for n in bundle.manifest.files}
        manifest = bundle.manifest
    assert manifest.graph is not None
    recipe = {**manifest.graph.recipe, field: value}
    if value is None:
        del recipe[field]
    graph = dataclasses.replace(manifest.graph, recipe=recipe)
    write_bundle(tmp_path / "bad.mjb", dataclasses.replace(manifest, graph=graph), files)
    assert main(["verify", str(tmp_path / "bad.mjb"), "--quiet"]) == 5
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"[manifest.graph.recipe.{field}] must" in error
    assert trt.built == 0
