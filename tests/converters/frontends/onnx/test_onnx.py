"""Whole ONNX files: exporters, external data, symbolic shapes, names, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import millijoule as mj
from millijoule.converters import convert
from millijoule.errors import MjError, ModelError, UnsupportedError, UsageError
from millijoule.targets import build
from millijoule.verification import verify

RNG = np.random.default_rng(0)


class Encoder(nn.Module):
    """Embedding, attention with a mask, a convolution: shapes are read, gathered and reshaped."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 12)
        self.layer = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True)
        self.conv = nn.Conv1d(12, 6, 3, padding=1)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embedding(ids) * mask.unsqueeze(-1)
        y = self.layer(x)
        pooled = self.conv(y.transpose(1, 2)).flatten(1).reshape(ids.shape[0], -1)
        return y, pooled


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "legacy"])
def test_torch_exports(dynamo: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Encoder().eval()
    inputs = (torch.randint(0, 11, (2, 7)), torch.ones(2, 7))
    path = tmp_path / "encoder.onnx"
    torch.onnx.export(
        module, inputs, str(path), input_names=["ids", "mask"], output_names=["y", "pooled"],
        dynamo=dynamo, verbose=False, **({} if dynamo else {"opset_version": 17}),
    )  # fmt: skip
    ids = inputs[0].numpy()
    model = convert(path, example_inputs={"ids": ids, "mask": inputs[1].numpy()})
    assert [n for n, _ in model.inputs] == ["ids", "mask"]
    assert model.parameters > 0
    build(model, "host", tmp_path / "m.mjb").close()
    with mj.load(tmp_path / "m.mjb") as session, torch.no_grad():
        assert all(check.passed for check in verify(session))
        got = session.run({"ids": ids, "mask": inputs[1].numpy()})
        for name, want in zip(("y", "pooled"), module(*inputs), strict=True):
            np.testing.assert_allclose(got[name], want.numpy(), atol=2e-5)


def linear(path: Path, shape: list[Any], *, external: bool = False, opset: int = 17,
           op: str = "MatMul", dtype: int = TensorProto.FLOAT) -> Path:  # fmt: skip
    """A model of one node with weights ``[5, 3]``."""
    weights = numpy_helper.from_array(RNG.standard_normal((5, 3)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node(op, ["in/x:0", "w"], ["y"], name="first")],
        "g",
        [helper.make_tensor_value_info("in/x:0", dtype, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], 3])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, path, save_as_external_data=external, size_threshold=0)
    return path


def test_external_data_and_names(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", [2, 5], external=True)
    assert len(list(tmp_path.iterdir())) == 2
    model = convert(path)
    assert [n for n, _ in model.inputs] == ["in_x_0"]
    assert model.parameters == 15
    assert set(model.layers.values()) == {"first"}


@pytest.mark.parametrize("batch", [1, 4])
def test_the_first_symbolic_dimension_is_the_batch(batch: int, tmp_path: Path) -> None:
    model = convert(linear(tmp_path / "m.onnx", ["N", 5]), batch=batch)
    assert model.inputs[0][1].shape == (batch, 5)
    assert model.outputs[0][1].shape == (batch, 3)


@pytest.mark.parametrize(
    ("shape", "more", "arguments", "error", "message"),
    [
        ([2, 5], {"opset": 9}, {}, UnsupportedError, "opset must be 11 to 23, but is 9"),
        ([2, 5], {}, {"batch": 4}, UsageError, "fixed batch 2, but --batch is 4"),
        (["N", "K"], {}, {}, UsageError, "--examples"),
        (["N", 5], {}, {"example_inputs": {"in/x:0": np.ones((2, 4), np.float32)}}, UsageError,
         r"has shape \['N', 5\], but its example \[2, 4\]"),
        ([2, 5], {}, {"example_inputs": {"z": 1}}, UsageError, "there are examples of z"),
        ([2, 5], {"dtype": TensorProto.FLOAT16}, {}, UnsupportedError, "but is float16"),
        ([2, 5], {}, {"streaming": True}, UnsupportedError, "no step form"),
    ],
)  # fmt: skip
def test_errors_are_one_line(
    shape: list[Any], more: dict[str, Any], arguments: dict[str, Any], error: type[MjError],
    message: str, tmp_path: Path,
) -> None:  # fmt: skip
    path = linear(tmp_path / "m.onnx", shape, **more)
    with pytest.raises(error, match=message) as caught:
        convert(path, **arguments)
    assert "\n" not in str(caught.value)


def test_every_unsupported_operator_is_named_with_its_node(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("NonZero", ["a"], ["b"], name="find"),
        helper.make_node("Unique", ["a"], ["y"], name="once"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["K"])],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    with pytest.raises(UnsupportedError, match=r"NonZero .*'find'.*values.*so are Unique"):
        convert(path)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"hello")
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        convert(tmp_path / "m.onnx")
    path = linear(tmp_path / "named.onnx", [2, 5])
    path.write_bytes(path.read_bytes().replace(b"first", b"firs\xda"))
    with pytest.raises(ModelError, match=r"not a valid ONNX model: the name b'firs.xda' is not"):
        convert(path)
    with pytest.raises(UsageError, match="no file"):
        convert(tmp_path / "none.onnx")
