"""Dense regions for TensorRT: what the plan says, and ONNX Runtime in the place of engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tvm import relax

import millijoule as mj
from fixtures.graphs import run_onnx
from fixtures.jetson import Gate, zeros
from fixtures.models import GOLDENS
from millijoule.cli import main
from millijoule.converters.model import Model
from millijoule.converters.ops.lmu_memory.reference import lmu_memory_reference
from millijoule.errors import UnsupportedError, UsageError
from millijoule.targets.jetson.split import split_for_tensorrt

PLAIN = GOLDENS / "lmuformer-plain-s"


@pytest.fixture(scope="module")
def model() -> Model:
    return mj.convert(PLAIN)


def test_regions_under_onnxruntime(model: Model) -> None:
    """The whole model: two graphs with the memory, which stays ours, in between."""
    split = split_for_tensorrt(model, least_macs=1000)
    assert split.plan.kept == ("permute_dims", "squeeze", "mj.lmu_memory")
    first, second = split.plan.regions
    [frames], [(source, _)] = model.sample_inputs.values(), [(s.name, s) for s in first.inputs]
    values = {source: np.ascontiguousarray(frames.transpose(0, 2, 1))}
    values |= run_onnx(split.files[first.graph], values)
    thin = next(s.name for s in first.outputs if s.shape[-1] == 1)
    [memory] = [s.name for s in second.inputs if s.name not in values]
    values[memory] = lmu_memory_reference(values[thin][..., 0], _impulse(model))
    feeds = {s.name: values[s.name] for s in second.inputs}
    [logits] = run_onnx(split.files[second.graph], feeds).values()
    np.testing.assert_allclose(logits, model.sample_outputs["logits"], rtol=0, atol=1e-5)


def _impulse(model: Model) -> np.ndarray:
    """The constant that the memory is convolved with."""
    for block in model.module["main"].body.blocks:
        for binding in block.bindings:
            call = binding.value
            if isinstance(call, relax.Call) and "lmu_memory" in str(call.op):
                return np.asarray(call.args[1].value.numpy())
    raise AssertionError("no memory in the model")


def test_what_crosses(model: Model) -> None:
    """Multiply-accumulates and bytes, by hand: 32 steps of 20 channels, width 16."""
    plan = split_for_tensorrt(model, least_macs=1000).plan
    first, second = plan.regions
    assert first.crossing_bytes == 4 * (20 * 32 + 32 * 16 + 32)
    assert second.crossing_bytes == 4 * (2 * 32 * 16 + 7)
    convolutions = 32 * 16 * 3 * (20 + 4 * 16)
    assert first.macs == convolutions + 32 * 16
    assert second.layers[0].startswith("block.0.attn")
    only = split_for_tensorrt(model).plan  # the second region is too small to be worth it
    assert [region.operators for region in only.regions] == [first.operators]
    assert only.kept.count("matmul") == 5


def test_built_and_inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "s.mjb")
    command = ["build", str(PLAIN), "--target", "jetson-orin", "--split", "tensorrt", "-o", out]
    assert main(command) == 0
    with mj.Bundle.open(out) as bundle:
        split = bundle.manifest.split
        assert split is not None
        assert [bundle.read(region.graph)[:1] for region in split.regions] == [b"\x08"]
    capsys.readouterr()
    assert main(["inspect", out]) == 0
    shown = capsys.readouterr().out
    assert "program/split/region0.onnx" in shown
    assert "1 × mj.lmu_memory" in " ".join(shown.split())
    assert main(["verify", out, "--device", "cuda-emulator", "--quiet"]) == 0


def test_refused(tmp_path: Path) -> None:
    small = mj.convert(Gate(), example_inputs=(zeros(),))
    out = tmp_path / "g.mjb"
    with pytest.raises(UnsupportedError, match="a region must have 100,000"):
        mj.build(small, "jetson-orin", out, split="tensorrt")
    with pytest.raises(UsageError, match=r"split is for jetson-orin, .*but the target is host"):
        mj.build(small, "host", out, split="tensorrt")
    with pytest.raises(UsageError, match="split must be one of tensorrt, but is 'dla'"):
        mj.build(small, "jetson-orin", out, split="dla")
    assert not out.exists()
