"""The authors' models as graphs: ONNX Runtime, and the parser and builder of TensorRT-RTX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorrt_rtx as trt

import millijoule as mj
from fixtures.binary import BINARY
from fixtures.bundles import assert_same_bytes
from fixtures.graphs import run_onnx
from fixtures.models import LMUFORMER, STREAMABLE, Golden, build
from millijoule.cli import main
from millijoule.converters.source import read_folder
from millijoule.targets.onnx import onnx_graph

STREAMS = tuple(g for g in LMUFORMER if read_folder(g.path).variant in STREAMABLE)
WHOLE = [(golden, False) for golden in (*LMUFORMER, *BINARY)]
WHOLE += [(golden, True) for golden in STREAMS]
every = pytest.mark.parametrize(("golden", "streaming"), WHOLE, ids=lambda v: getattr(v, "name", v))


@every
def test_verify(golden: Golden, streaming: bool, tmp_path: Path) -> None:
    options = ["--streaming"] if streaming else []
    build(golden.path, tmp_path / "g.mjb", "--target", "tensorrt", *options)
    assert main(["verify", str(tmp_path / "g.mjb"), "--device", "onnxruntime", "--quiet"]) == 0


@pytest.mark.parametrize("golden", LMUFORMER, ids=lambda golden: golden.name)
def test_spikes_and_logits(golden: Golden) -> None:
    """On the authors' own inputs: every spike theirs, logits within 1e-5."""
    graph = onnx_graph(mj.convert(golden.path, batch=len(golden.inputs["x"])), show=["lif"])
    got = run_onnx(graph.to_bytes(), golden.inputs)
    np.testing.assert_allclose(got["logits"], golden.outputs["logits"], rtol=0, atol=1e-5)
    for name, expected in golden.spikes().items():
        np.testing.assert_array_equal(got[name].reshape(expected.shape), expected, name)


@pytest.mark.parametrize("golden", BINARY, ids=lambda golden: golden.name)
def test_binary_models(golden: Golden) -> None:
    """Every attention map theirs, floats within 1e-4."""
    model = mj.convert(golden.path)
    got = run_onnx(onnx_graph(model, show=["binary_attention"]).to_bytes(), model.sample_inputs)
    assert any(v.dtype == np.uint8 for v in model.sample_outputs.values())
    for name, expected in model.sample_outputs.items():
        atol = 0 if expected.dtype == np.uint8 else 1e-4
        np.testing.assert_allclose(got[name], expected, rtol=0, atol=atol, err_msg=name)


@every
def test_rtx_builds(golden: Golden, streaming: bool) -> None:
    """TensorRT-RTX shares TensorRT's parser and builder, and builds without a GPU."""
    graph = onnx_graph(mj.convert(golden.path, streaming=streaming)).to_bytes()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(graph), [str(parser.get_error(i)) for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 2
    for index, capability in enumerate((trt.ComputeCapability.SM86, trt.ComputeCapability.SM89)):
        config.set_compute_capability(capability, index)
    assert builder.build_serialized_network(network, config) is not None


@pytest.mark.parametrize("options", [(), ("--streaming",)], ids=" ".join)
def test_float16(options: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "g.mjb"
    build(LMUFORMER[0].path, out, "--target", "tensorrt", "--dtype", "float16", *options)
    assert main(["verify", str(out), "--device", "onnxruntime", "--quiet"]) == 0


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a.mjb", "b.mjb"):
        build(LMUFORMER[1].path, tmp_path / name, "--target", "tensorrt")
    assert_same_bytes(tmp_path / "a.mjb", tmp_path / "b.mjb")


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "g.mjb"
    golden = str(LMUFORMER[1].path)
    for options, status, words in (
        (["--dtype", "int8"], 3, "float32 or float16, not int8"),
        (["--dtype", "float16"], 3, "would move the spikes of layer 'patch_embed.proj_lif'"),
        (["--threads", "2"], 2, "its runtime's own"),
        (["--flash", "1M"], 2, "limit programs for microcontrollers"),
    ):
        assert main(["build", golden, "--target", "tensorrt", "-o", str(out), *options]) == status
        assert words in capsys.readouterr().err
        assert not out.exists()


def test_no_tensorrt_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(LMUFORMER[0].path, tmp_path / "g.mjb", "--target", "tensorrt")
    assert main(["run", str(tmp_path / "g.mjb")]) == 4
    assert "--device onnxruntime" in capsys.readouterr().err
    assert main(["profile", str(tmp_path / "g.mjb"), "--device", "onnxruntime"]) == 2
    assert "only checks programs" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "g.mjb")]) == 0
    assert "bits per weight" in capsys.readouterr().out
