"""ONNX graphs of the plain model (batch 1), written by hand for what ONNX Runtime does best.

Batch norms are folded wherever a linear operator stands directly before them, and are a multiply
and an add otherwise (behind a ReLU), which is what ONNX Runtime makes of them. A convolution of
width 3 is a matrix product with a window of three steps. All weights are constants, so they are
packed when the session is made.

Step form: states go in and out; the memory is the recurrence ``m' = [m, u] · [Aᵀ; Bᵀ]`` with dense
A, one product. The caller zeroes the states of layers that no real frame has reached yet
(`zero_early`) and passes 1/steps, so that the graph carries nothing for start-up.

Sequence form: memory and W_h folded into one finite impulse response, as our own kernels do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from mjbench.eager import folded_linear

OPSET = 20  # the first with Gelu
IR_VERSION = 9


class Graph:
    """Nodes and constants under construction."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: np.ndarray | Tensor) -> str:
        """Name of a new constant."""
        name = f"c{len(self._constants)}"
        array = np.ascontiguousarray(value)
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Append a node; returns the name of its result."""
        name = out or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def gemm(
        self, x: str, weight: Tensor, bias: Tensor | None = None, out: str | None = None
    ) -> str:
        """``x [R, K] · weight [K, O] + bias``."""
        operands = [x, self.constant(weight)]
        if bias is not None:
            operands.append(self.constant(bias))
        return self.add("Gemm", *operands, out=out)

    def affine(self, x: str, scale: Tensor, shift: Tensor, out: str | None = None) -> str:
        """A batch norm that nothing absorbs."""
        scaled = self.add("Mul", x, self.constant(scale))
        return self.add("Add", scaled, self.constant(shift), out=out)

    def model(self, inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> bytes:
        """The checked model, serialised; all tensors are float32."""
        infos = [
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in side.items()]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, "plain", *infos, initializer=self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()


def _layers(module: Any) -> list[tuple[Any, Any]]:
    return [tuple(layer.children()) for layer in module.patch_embed.conv_layers]


def _window_matrix(weight: Tensor) -> Tensor:
    """[O, I, 3] → [3·I, O]."""
    return weight.permute(2, 1, 0).reshape(-1, weight.shape[0])


def state_shapes(module: Any) -> dict[str, list[int]]:
    """States of the step form: two past inputs per convolution, residual, memory, sum of logits."""
    width = module.patch_embed.rpe_conv.weight.shape[0]
    features = module.features
    shapes = {f"past{i}": [1, 2 * (features if i == 0 else width)] for i in range(5)}
    shapes |= {"residual": [1, width], "m": [1, module.block[0].attn.lmu.order]}
    return shapes | {"total": [1, module.head.weight.shape[0]]}


def zero_early(states: dict[str, np.ndarray], now: int) -> None:
    """After step ``now`` < 5: undo what layers computed that no real frame has reached."""
    for i in range(now + 1, 5):
        newest = states[f"past{i}"]
        newest[:, newest.shape[1] // 2 :] = 0
    if now < 4:
        states["residual"][...] = 0
    states["m"][...] = 0
    states["total"][...] = 0


def step_model(module: Any) -> bytes:
    """``(x [1, F], weight [1, 1] = 1/steps, states…) → (logits [1, C], states…)``."""
    g, states = Graph(), state_shapes(module)
    x = "x"
    for i, (conv, bn) in enumerate(_layers(module)):
        y = g.add("Relu", g.gemm(_window(g, i, x, states), _window_matrix(conv.weight)))
        x = g.affine(y, *bn.folded())
    g.add("Identity", x, out="residual_out")
    rpe = g.gemm(_window(g, 4, x, states), _window_matrix(module.patch_embed.rpe_conv.weight))
    x = g.add("Add", "residual", rpe)
    lmu = module.block[0].attn.lmu
    u = g.add("Relu", g.gemm(x, lmu.W_u.weight.T, lmu.W_u.bias))
    recurrence = np.concatenate([lmu.A.T, lmu.B.T])
    m = g.gemm(g.add("Concat", "m", u, axis=1), recurrence, out="m_out")
    mixed = g.gemm(g.add("Concat", m, x, axis=1), lmu.W_h.weight.T, lmu.W_h.bias)
    x = _mlp(g, module, x, g.add("Relu", mixed))
    logits = g.gemm(x, module.head.weight.T, module.head.bias)
    g.add("Mul", g.add("Add", "total", logits, out="total_out"), "weight", out="logits")
    inputs = {"x": [1, module.features], "weight": [1, 1], **states}
    outputs = {"logits": states["total"], **{f"{n}_out": s for n, s in states.items()}}
    return g.model(inputs, outputs)


def _window(g: Graph, index: int, x: str, states: dict[str, list[int]]) -> str:
    """Three steps side by side [1, 3·C]; the last two are the next state."""
    past = f"past{index}"
    channels = states[past][1] // 2
    window = g.add("Concat", past, x, axis=1)
    start, stop = (g.constant(np.array([n], np.int64)) for n in (channels, 3 * channels))
    g.add("Slice", window, start, stop, g.constant(np.array([1], np.int64)), out=f"{past}_out")
    return window


def _mlp(g: Graph, module: Any, x: str, h: str) -> str:
    """The rest of the block: x and h [R, C] → [R, C]."""
    attn, mlp = module.block[0].attn, module.block[0].mlp

    def linear(y: str, conv: Any, bn: Any) -> str:
        weight, bias = folded_linear(conv, bn)
        return g.gemm(y, weight.T, bias)

    x = g.add("Add", x, linear(h, attn.proj_conv, attn.proj_bn))
    y = g.add("Gelu", linear(x, mlp.fc1_conv, mlp.fc1_bn))
    return g.add("Add", x, g.add("Relu", linear(y, mlp.fc2_conv, mlp.fc2_bn)))


def sequence_model(module: Any, form: str) -> bytes:
    """``x [N, F] → logits [1, C]``; ``form``: convolutions as "conv" or as "gemm" of three slices.

    Which one is faster depends on the version and the machine, so the benchmark runs both.
    """
    g = Graph()
    embed = _conv_embed if form == "conv" else _gemm_embed
    x = embed(g, module)
    lmu = module.block[0].attn.lmu
    u = g.add("Relu", g.gemm(x, lmu.W_u.weight.T, lmu.W_u.bias))
    # causal convolution of u with W_h[:, :M]·H: kernel [C, 1, N], newest sample last
    fir = (lmu.H.T @ lmu.W_h.weight[:, : lmu.order].T).flip(0).T[:, None]
    row = g.add("Reshape", u, g.constant(np.array([1, 1, module.seq_len], np.int64)))
    memory = g.add("Conv", row, g.constant(fir), pads=[module.seq_len - 1, 0])
    memory = g.add("Transpose", _squeezed(g, memory), perm=[1, 0])
    direct = g.gemm(x, lmu.W_h.weight[:, lmu.order :].T, lmu.W_h.bias)
    x = _mlp(g, module, x, g.add("Relu", g.add("Add", memory, direct)))
    logits = g.gemm(x, module.head.weight.T, module.head.bias)
    axes = g.constant(np.array([0], np.int64))
    g.add("ReduceMean", logits, axes, out="logits", keepdims=1)
    return g.model(
        {"x": [module.seq_len, module.features]}, {"logits": [1, module.head.weight.shape[0]]}
    )


def _squeezed(g: Graph, x: str) -> str:
    return g.add("Squeeze", x, g.constant(np.array([0], np.int64)))


def _conv_embed(g: Graph, module: Any) -> str:
    """[N, F] → [N, C] with Conv, channels first."""
    x = g.add("Transpose", "x", perm=[1, 0])
    x = g.add("Unsqueeze", x, g.constant(np.array([0], np.int64)))
    for conv, bn in _layers(module):
        y = g.add("Relu", g.add("Conv", x, g.constant(conv.weight), pads=[1, 1]))
        x = g.affine(y, *(p[:, None] for p in bn.folded()))
    weight = g.constant(module.patch_embed.rpe_conv.weight)
    x = g.add("Add", x, g.add("Conv", x, weight, pads=[1, 1]))
    return g.add("Transpose", _squeezed(g, x), perm=[1, 0])


def _gemm_embed(g: Graph, module: Any) -> str:
    """[N, F] → [N, C] with matrix products of three shifted copies side by side."""
    steps = module.seq_len
    pads = g.constant(np.array([1, 0, 1, 0], np.int64))
    axis = g.constant(np.array([0], np.int64))

    def conv(x: str, weight: Tensor) -> str:
        padded = g.add("Pad", x, pads)
        shifted = [
            g.add(
                "Slice",
                padded,
                *(g.constant(np.array([n], np.int64)) for n in (k, k + steps)),
                axis,
            )
            for k in range(3)
        ]
        return g.gemm(g.add("Concat", *shifted, axis=1), _window_matrix(weight))

    x = "x"
    for layer, bn in _layers(module):
        x = g.affine(g.add("Relu", conv(x, layer.weight)), *bn.folded())
    return g.add("Add", x, conv(x, module.patch_embed.rpe_conv.weight))
