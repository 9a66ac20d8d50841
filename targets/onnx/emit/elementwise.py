"""Elementwise operators."""

from __future__ import annotations

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.onnx.builder import OnnxEmitter

emits = Registry()

_SAME = {
    "abs": "Abs", "add": "Add", "acos": "Acos", "asin": "Asin", "atan": "Atan", "ceil": "Ceil",
    "cos": "Cos", "cosh": "Cosh", "divide": "Div", "equal": "Equal", "erf": "Erf", "exp": "Exp",
    "floor": "Floor", "greater": "Greater", "greater_equal": "GreaterOrEqual", "less": "Less",
    "less_equal": "LessOrEqual", "log": "Log", "logical_and": "And", "logical_not": "Not",
    "logical_or": "Or", "logical_xor": "Xor", "maximum": "Max", "minimum": "Min",
    "multiply": "Mul", "negative": "Neg", "nn.relu": "Relu", "power": "Pow", "round": "Round",
    "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt",
    "subtract": "Sub", "tan": "Tan", "tanh": "Tanh", "where": "Where", "isnan": "IsNaN",
    "isinf": "IsInf",
}  # fmt: skip


@emits(*(f"relax.{name}" for name in _SAME))
def same(g: OnnxEmitter, n: Node) -> Value:
    """The operator of the other name; both broadcast as NumPy does."""
    return g.node(_SAME[n.op.removeprefix("relax.")], n.args, n.type)


def number(value: float, t: TensorType) -> np.ndarray:
    """A scalar constant of the type of ``t``."""
    return np.array(value, t.dtype)


@emits("relax.bitwise_and", "relax.bitwise_or", "relax.bitwise_xor", "relax.bitwise_not")
def bitwise(g: OnnxEmitter, n: Node) -> Value:
    """On truth values the logical operators; opset 17 has none on integers."""
    if n.type.dtype != "bool":
        raise UnsupportedError(
            f"[onnx] {n.op.removeprefix('relax.')} of layer {n.layer!r} is on {n.type.dtype}, but"
            " opset 17 has it for bool only"
        )
    names = {"and": "And", "or": "Or", "xor": "Xor", "not": "Not"}
    return g.node(names[n.op.rsplit("_", 1)[1]], n.args, n.type)


@emits("relax.not_equal")
def not_equal(g: OnnxEmitter, n: Node) -> Value:
    """Not(Equal)."""
    return g.node("Not", [g.node("Equal", n.args, n.type)], n.type)


@emits("relax.rsqrt")
def rsqrt(g: OnnxEmitter, n: Node) -> Value:
    """1/√x."""
    return g.node("Reciprocal", [g.node("Sqrt", n.args, n.type)], n.type)


@emits("relax.square")
def square(g: OnnxEmitter, n: Node) -> Value:
    """x·x."""
    return g.node("Mul", [n.args[0], n.args[0]], n.type)


@emits("relax.trunc")
def trunc(g: OnnxEmitter, n: Node) -> Value:
    """sign(x)·floor(|x|)."""
    whole = g.node("Floor", [g.node("Abs", n.args, n.type)], n.type)
    return g.node("Mul", [g.node("Sign", n.args, n.type), whole], n.type)


@emits("relax.floor_divide")
def floor_divide(g: OnnxEmitter, n: Node) -> Value:
    """⌊a/b⌋: through the remainder for integers, whose ``Div`` rounds towards zero."""
    if n.type.dtype.startswith("float"):
        return g.node("Floor", [g.node("Div", n.args, n.type)], n.type)
    rest = g.node("Mod", n.args, n.type)  # has the divisor's sign
    return g.node("Div", [g.node("Sub", [n.args[0], rest], n.type), n.args[1]], n.type)


@emits("relax.floor_mod")
def floor_mod(g: OnnxEmitter, n: Node) -> Value:
    """a − b·⌊a/b⌋."""
    if not n.type.dtype.startswith("float"):
        return g.node("Mod", n.args, n.type)
    times = g.node("Mul", [n.args[1], floor_divide(g, n)], n.type)
    return g.node("Sub", [n.args[0], times], n.type)


@emits("relax.clip")
def clip(g: OnnxEmitter, n: Node) -> Value:
    """min(max(x, low), high)."""
    x, low, high = n.args[0], *(float(v) for v in n.args[1:])  # type: ignore[arg-type]
    return g.node("Clip", [x, number(low, n.type), number(high, n.type)], n.type)


@emits("relax.astype")
def astype(g: OnnxEmitter, n: Node) -> Value:
    """Cast; int8 weights are dequantized by 1, so that they are stored as they are."""
    if isinstance(n.args[0], np.ndarray) and n.args[0].dtype == np.int8:
        wide = g.node("DequantizeLinear", [n.args[0], g.exact(np.float32(1))], n.type)
        return g.node("Cast", [wide], n.type, to=g.dtype(n.type.dtype))
    return g.node("Cast", n.args, n.type, to=g.dtype(n.type.dtype))


@emits("relax.nn.silu")
def silu(g: OnnxEmitter, n: Node) -> Value:
    """x·σ(x)."""
    return g.node("Mul", [n.args[0], g.node("Sigmoid", n.args, n.type)], n.type)


@emits("relax.nn.gelu")
def gelu(g: OnnxEmitter, n: Node) -> Value:
    """x/2·(1 + erf(x/√2)), in the form that ONNX Runtime and TensorRT recognize."""
    t, x = n.type, n.args[0]
    erf = g.node("Erf", [g.node("Div", [x, number(2**0.5, t)], t)], t)
    both = g.node("Mul", [x, g.node("Add", [erf, number(1, t)], t)], t)
    return g.node("Mul", [both, number(0.5, t)], t)


@emits("relax.nn.gelu_tanh")
def gelu_tanh(g: OnnxEmitter, n: Node) -> Value:
    """x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
    t, x = n.type, n.args[0]
    cube = g.node("Mul", [g.node("Mul", [x, x], t), x], t)
    inner = g.node("Add", [x, g.node("Mul", [cube, number(0.044715, t)], t)], t)
    tanh = g.node("Tanh", [g.node("Mul", [inner, number((2 / np.pi) ** 0.5, t)], t)], t)
    both = g.node("Mul", [x, g.node("Add", [tanh, number(1, t)], t)], t)
    return g.node("Mul", [both, number(0.5, t)], t)


@emits("relax.nn.leakyrelu")
def leakyrelu(g: OnnxEmitter, n: Node) -> Value:
    """x where positive, else αx."""
    return g.node("LeakyRelu", n.args, n.type, alpha=n.attrs["alpha"])


@emits("relax.nn.softplus")
def softplus(g: OnnxEmitter, n: Node) -> Value:
    """log(1 + exp(βx))/β."""
    beta, t = n.attrs["beta"], n.type
    if beta == 1:
        return g.node("Softplus", n.args, t)
    scaled = g.node("Mul", [n.args[0], number(beta, t)], t)
    return g.node("Div", [g.node("Softplus", [scaled], t), number(beta, t)], t)


@emits("relax.nn.dropout")
def dropout(g: OnnxEmitter, n: Node) -> tuple[Value, ...]:
    """Nothing, at inference."""
    return (g.value(n.args[0]), g.value(n.args[0]))
