"""One graph and one engine for a range of batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorrt_rtx as trt
import torch

import millijoule as mj
from fixtures.graphs import Function, run_onnx
from fixtures.models import GOLDENS, build
from millijoule.cli import main
from millijoule.errors import UnsupportedError
from millijoule.targets.onnx import onnx_graph
from millijoule.targets.onnx.batches import PROBES, any_batch, profile

SPIKING = GOLDENS / "lmuformer-spiking-ms-s"  # loops with states of a row per sample


def merged(source: Path) -> bytes:
    """The graph for any batch."""
    protos = (onnx_graph(mj.convert(source, batch=rows)).proto for rows in PROBES)
    return bytes(any_batch(*protos).SerializeToString())


@pytest.mark.parametrize("source", [SPIKING, GOLDENS / "bibert-a"], ids=lambda path: path.name)
def test_every_batch(source: Path) -> None:
    graph = merged(source)
    for rows in (1, 7):
        model = mj.convert(source, batch=rows)
        got = run_onnx(graph, model.sample_inputs)
        assert got["logits"].shape[0] == rows
        np.testing.assert_allclose(got["logits"], model.sample_outputs["logits"], rtol=0, atol=1e-5)


def test_rtx_builds_a_range() -> None:
    """TensorRT-RTX takes the symbolic graph and the profile, and builds without a GPU."""
    protos = (onnx_graph(mj.convert(SPIKING, batch=rows)).proto for rows in PROBES)
    proto = any_batch(*protos)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(proto.SerializeToString())
    config = builder.create_builder_config()
    ranges = builder.create_optimization_profile()
    for name, shapes in profile(proto.graph, (1, 4, 16)).items():
        ranges.set_shape(name, *(tuple(s) for s in shapes))
    config.add_optimization_profile(ranges)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    assert builder.build_serialized_network(network, config) is not None


def test_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sessions take the usual batch; the recipe has the range of every input and state."""
    out = tmp_path / "m.mjb"
    build(SPIKING, out, "--target", "tensorrt", "--batches", "1,2,8", "--streaming")
    assert main(["verify", str(out), "--device", "onnxruntime", "--quiet"]) == 0
    with mj.Bundle.open(out) as bundle:
        graph = bundle.manifest.graph
        assert graph is not None
        (ranges,) = graph.recipe["profiles"]
        assert bundle.manifest.inputs[0].shape[0] == 2
    assert [shape[0] for shape in ranges["x"]] == [1, 2, 8]
    assert any(name.startswith("state:") for name in ranges)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target", "litert", "--batches", "1,2,4"], "is for tensorrt"),
        (["--target", "tensorrt", "--batches", "4,2,8"], "in this order"),
        (["--target", "tensorrt", "--batches", "1,2"], "three numbers"),
    ],
)
def test_refusals(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(SPIKING), "-o", str(tmp_path / "m.mjb"), *options]) == 2
    assert words in capsys.readouterr().err


def test_sums_over_samples_are_refused() -> None:
    """A mean over the batch has the batch as a number."""
    example = torch.randn(1, 4)
    model = mj.convert(Function(lambda x: (x - x.sum() / len(x)) * 2), example_inputs=[example])
    assert model.at_batch is not None
    protos = (onnx_graph(model.at_batch(rows)).proto for rows in PROBES)
    with pytest.raises(UnsupportedError, match="depends on the batch"):
        any_batch(*protos)
