"""Whole TensorFlow Lite files: quantized weights, names, samples, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.tflite_graphs import Graph, Quantized, case, compare, model_of, schema
from millijoule.converters import convert
from millijoule.errors import MjError, ModelError, UnsupportedError, UsageError
from millijoule.targets import build

RNG = np.random.default_rng(0)


def int8_network() -> tuple[Graph, np.ndarray]:
    """Quantized input → FULLY_CONNECTED per channel with bias and ReLU → DEQUANTIZE.

    Returns the graph and the real weights.
    """
    weights = RNG.integers(-127, 128, (7, 5)).astype(np.int8)
    scales = np.abs(RNG.standard_normal(7)).astype(np.float32) * 0.01 + 0.01
    bias = RNG.integers(-500, 500, 7).astype(np.int32)
    graph = Graph()
    x = graph.tensor("x", (3, 5))
    q = graph.tensor("q", (3, 5), "int8", quantized=Quantized(0.05, 3))
    w = graph.constant("w", Quantized(scales, 0, weights, axis=0))
    b = graph.constant("b", Quantized(scales * np.float32(0.05), 0, bias, axis=0))
    y = graph.tensor("y", (3, 7), "int8", quantized=Quantized(0.2, -128))
    out = graph.tensor("serving/out:0", (3, 7))
    graph.graph.inputs, graph.graph.outputs = [x], [out]
    graph.operator("QUANTIZE", [x], [q], {}, "Quantize")
    relu = schema.ActivationFunctionType.RELU
    options = {"fusedActivationFunction": relu}
    graph.operator("FULLY_CONNECTED", [q, w, b], [y], options, "FullyConnected")
    graph.operator("DEQUANTIZE", [y], [out], {}, "Dequantize")
    return graph, weights * scales[:, None]


def test_quantized_weights_become_the_numbers_that_they_stand_for(tmp_path: Path) -> None:
    graph, weights = int8_network()
    path = tmp_path / "int8.tflite"
    path.write_bytes(graph.data())
    model = convert(path)
    assert model.variant == "int8 dequantized to float32"
    assert [name for name, _ in model.outputs] == ["serving_out_0"]
    build(model, "host", tmp_path / "m.mjb").close()
    x = RNG.standard_normal((3, 5)).astype(np.float32)
    with mj.load(tmp_path / "m.mjb") as session:
        (y,) = session.run({"x": x}).values()
        (zero,) = session.run({"x": np.zeros_like(x)}).values()
    real = x @ weights.T
    # the bias is what zero gives where the ReLU lets it through
    np.testing.assert_allclose(y[zero > 0], np.maximum(real + zero, 0)[zero > 0], atol=1e-5)
    # and the quantized model itself is near: its input and output are rounded to 0.05 and 0.2
    quantized = _litert(graph.data(), x)
    bound = 0.2 + 0.025 * np.abs(weights).sum(1)
    assert (np.abs(quantized - y) <= bound)[quantized < 0.2 * 255].all()


def _litert(data: bytes, x: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def test_float16_weights_are_widened(tmp_path: Path) -> None:
    weights = RNG.standard_normal((7, 5)).astype(np.float16)
    graph = Graph()
    v = graph.tensor("v", (3, 5))
    half = graph.constant("half", weights)
    full = graph.tensor("full", (7, 5))
    y = graph.tensor("y", (3, 7))
    graph.graph.inputs, graph.graph.outputs = [v], [y]
    graph.operator("DEQUANTIZE", [half], [full], {}, "Dequantize")
    graph.operator("FULLY_CONNECTED", [v, full, -1], [y], {}, "FullyConnected")
    path = tmp_path / "half.tflite"
    path.write_bytes(graph.data())
    assert convert(path).variant == "float16 dequantized to float32"
    compare(path, tmp_path)


def test_examples_become_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(model_of({"relu": case("RELU", "v")}))
    v = RNG.standard_normal((3, 5)).astype(np.float32)
    model = convert(path, example_inputs={"v": v}, name="mine")
    assert model.name == "mine"
    np.testing.assert_array_equal(model.sample_outputs["relu"], np.maximum(v, 0))


def _custom() -> bytes:
    graph = Graph()
    v, y = graph.tensor("v", (3, 5)), graph.tensor("y", (3, 5))
    graph.graph.inputs, graph.graph.outputs = [v], [y]
    graph.operator("RELU", [v], [y], {}, "")
    graph.operator("CUSTOM", [v], [y], {}, "")
    graph.model.operatorCodes[-1].customCode = "Tricks"
    graph.operator("WHERE", [v], [y], {}, "")
    return graph.data()


def _unknown_code() -> bytes:
    graph = Graph()
    v, y = graph.tensor("v", (3, 5)), graph.tensor("y", (3, 5))
    graph.graph.inputs, graph.graph.outputs = [v], [y]
    graph.operator("RELU", [v], [y], {}, "")
    graph.model.operatorCodes[-1].deprecatedBuiltinCode = -5
    return graph.data()


@pytest.mark.parametrize(
    ("data", "arguments", "error", "message"),
    [
        (b"hello world", {}, ModelError, "no TFL3 at byte 4"),
        (b"0000TFL3" + b"\xff" * 40, {}, ModelError, "not a valid TensorFlow Lite model"),
        (model_of({"relu": case("RELU", "v")}).replace(b"relu", b"rel\xff"), {}, ModelError,
         "not a valid TensorFlow Lite model: UnicodeDecodeError"),
        (_unknown_code(), {}, UnsupportedError, "operator 0 of subgraph 0 has a form.*code -5"),
        (None, {}, UsageError, "no file"),
        (_custom(), {}, UnsupportedError,
         r"CUSTOM Tricks is not supported \(operator 1 of subgraph 0\).*so are WHERE.*--ops"),
        (model_of({"r": case("RELU", "v")}), {"batch": 2}, UsageError, "fixed shape .3, 5."),
        (model_of({"r": case("RELU", "v")}), {"example_inputs": {"a": 1}}, UsageError,
         "inputs are v, but there are examples of a"),
        (model_of({"r": case("RELU", "v")}), {"example_inputs": {"v": [1.0]}}, UsageError,
         r"fixed shape \[3, 5\], but its example \[1\]"),
        (model_of({"r": case("RELU", "v")}), {"streaming": True}, UnsupportedError, "no step form"),
    ],
)  # fmt: skip
def test_errors_are_one_line(
    data: bytes | None, arguments: dict[str, object], error: type[MjError], message: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    path = tmp_path / "m.tflite"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(error, match=message) as caught:
        convert(path, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
