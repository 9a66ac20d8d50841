"""Elementwise operators."""

from __future__ import annotations

import numpy as np

from millijoule.errors import UnsupportedError
from millijoule.targets.coreml.builder import NAMES, MilEmitter
from millijoule.targets.graph import Arg, Node, Value
from millijoule.targets.graph.node import Registry

emits = Registry()

_UNARY = {"abs": "abs", "acos": "acos", "asin": "asin", "atan": "atan", "ceil": "ceil",
          "cos": "cos", "cosh": "cosh", "erf": "erf", "exp": "exp", "floor": "floor",
          "logical_not": "logical_not", "nn.relu": "relu", "nn.silu": "silu", "round": "round",
          "sigmoid": "sigmoid", "sign": "sign", "sin": "sin", "sinh": "sinh", "sqrt": "sqrt",
          "square": "square", "tan": "tan", "tanh": "tanh"}  # fmt: skip
_BINARY = {"add": "add", "divide": "real_div", "equal": "equal", "floor_divide": "floor_div",
           "floor_mod": "mod", "greater": "greater", "greater_equal": "greater_equal",
           "less": "less", "less_equal": "less_equal", "logical_and": "logical_and",
           "logical_or": "logical_or", "logical_xor": "logical_xor", "maximum": "maximum",
           "minimum": "minimum", "multiply": "mul", "not_equal": "not_equal", "power": "pow",
           "subtract": "sub"}  # fmt: skip


@emits(*(f"relax.{name}" for name in _UNARY))
def unary(g: MilEmitter, n: Node) -> Value:
    """The operator of the other name."""
    return g.op(_UNARY[n.op.removeprefix("relax.")], n.type, x=_tensor(n, 0))


@emits(*(f"relax.{name}" for name in _BINARY))
def binary(g: MilEmitter, n: Node) -> Value:
    """The operator of the other name; both broadcast as NumPy does."""
    name = _BINARY[n.op.removeprefix("relax.")]
    return g.op(name, n.type, x=_tensor(n, 0), y=_tensor(n, 1))


def _tensor(n: Node, index: int) -> Value | np.ndarray:
    arg = n.args[index]
    return arg if isinstance(arg, Value) else np.asarray(arg)


@emits("relax.negative")
def negative(g: MilEmitter, n: Node) -> Value:
    """−1·x."""
    return g.op("mul", n.type, x=n.args[0], y=np.array(-1, n.type.dtype))


@emits("relax.log")
def log(g: MilEmitter, n: Node) -> Value:
    """Natural logarithm of just x: MIL would add an epsilon."""
    return g.op("log", n.type, x=n.args[0], epsilon=np.float32(0))


@emits("relax.rsqrt")
def rsqrt(g: MilEmitter, n: Node) -> Value:
    """1/√x without MIL's epsilon."""
    return g.op("rsqrt", n.type, x=n.args[0], epsilon=np.float32(0))


@emits("relax.trunc")
def trunc(g: MilEmitter, n: Node) -> Value:
    """sign(x)·⌊|x|⌋."""
    whole = g.op("floor", n.type, x=g.op("abs", n.type, x=n.args[0]))
    return g.op("mul", n.type, x=g.op("sign", n.type, x=n.args[0]), y=whole)


@emits("relax.where")
def where(g: MilEmitter, n: Node) -> Value:
    """``select`` wants operands of one shape or scalars, so the others are spread first.

    A constant that is one number stays one beside a tensor: spread, it would be stored in full.
    """
    condition, a, b = (_spread(g, arg, n) for arg in n.args)
    if isinstance(a, np.ndarray) != isinstance(b, np.ndarray):
        a, b = (_number(x) for x in (a, b))
    return g.op("select", n.type, cond=condition, a=a, b=b)


def _number(x: Value | np.ndarray) -> Value | np.ndarray:
    """A constant whose elements are all the same as one number."""
    if isinstance(x, np.ndarray) and x.size and not np.any(x != x.flat[0]):
        return np.asarray(x.flat[0], x.dtype)
    return x


def _spread(g: MilEmitter, arg: Arg, n: Node) -> Value | np.ndarray:
    """``arg`` in the shape of the result."""
    shape = n.type.shape
    if not isinstance(arg, Value):
        return np.broadcast_to(np.asarray(arg), shape).copy()
    if arg.type.shape == shape:
        return arg
    padded = (*[1] * (len(shape) - len(arg.type.shape)), *arg.type.shape)
    value = g.op("reshape", arg.type, x=arg, shape=np.array(padded, np.int32))
    reps = [d if p == 1 else 1 for d, p in zip(shape, padded, strict=True)]
    return g.op("tile", arg.type, x=value, reps=np.array(reps, np.int32))


@emits("relax.bitwise_and", "relax.bitwise_or", "relax.bitwise_xor", "relax.bitwise_not")
def bitwise(g: MilEmitter, n: Node) -> Value:
    """On truth values the logical operators; MIL has none on integers."""
    if n.type.dtype != "bool":
        raise UnsupportedError(
            f"[coreml] {n.op.removeprefix('relax.')} of layer {n.layer!r} is on {n.type.dtype}, but"
            " MIL has it for bool only"
        )
    name = f"logical_{n.op.rsplit('_', 1)[1]}"
    return g.op(name, n.type, **dict(zip(("x", "y"), n.args, strict=False)))


@emits("relax.clip")
def clip(g: MilEmitter, n: Node) -> Value:
    """min(max(x, low), high)."""
    x, low, high = n.args
    above = g.op("maximum", n.type, x=x, y=np.array(low, n.type.dtype))
    return g.op("minimum", n.type, x=above, y=np.array(high, n.type.dtype))


@emits("relax.astype")
def astype(g: MilEmitter, n: Node) -> Value:
    """A cast; int8 weights of few values become a look-up table of one or two bits."""
    x = n.args[0]
    if isinstance(x, np.ndarray) and x.dtype == np.int8:
        return look_up(g, n, x)
    return g.op("cast", n.type, x=x, dtype=NAMES[n.type.dtype])


def lut_bits(w: np.ndarray) -> int:
    """Bits per weight of a table of the values in ``w``: 1, 2, 4 or 8."""
    count = len(np.unique(w))
    return next(bits for bits in (1, 2, 4, 8) if count <= 1 << bits)


def stored_bits(w: np.ndarray) -> int:
    """Bits per element that a constant is stored in."""
    return lut_bits(w) if w.dtype == np.int8 else w.dtype.itemsize * 8


def look_up(g: MilEmitter, n: Node, w: np.ndarray) -> Value:
    """Weights as indices into the list of their values: exact, and expanded where Core ML runs."""
    bits = lut_bits(w)
    values = np.unique(w)
    index = np.searchsorted(values, w).astype(np.uint8)
    table = np.zeros(1 << bits, np.float32)
    table[: len(values)] = values
    return g.weights(n.type, index, table, bits)


@emits("relax.nn.gelu", "relax.nn.gelu_tanh")
def gelu(g: MilEmitter, n: Node) -> Value:
    """x·Φ(x), exactly or by a hyperbolic tangent."""
    mode = "TANH_APPROXIMATION" if n.op.endswith("tanh") else "EXACT"
    return g.op("gelu", n.type, x=n.args[0], mode=mode)


@emits("relax.nn.leakyrelu")
def leakyrelu(g: MilEmitter, n: Node) -> Value:
    """x where positive, else αx."""
    return g.op("leaky_relu", n.type, x=n.args[0], alpha=np.float32(n.attrs["alpha"]))


@emits("relax.nn.softplus")
def softplus(g: MilEmitter, n: Node) -> Value:
    """log(1 + exp(βx))/β."""
    beta = np.float32(n.attrs["beta"])
    x = g.op("mul", n.type, x=n.args[0], y=beta)
    return g.op("real_div", n.type, x=g.op("softplus", n.type, x=x), y=beta)


@emits("relax.nn.dropout")
def dropout(g: MilEmitter, n: Node) -> tuple[Value, ...]:
    """Nothing, at inference."""
    same = g.op("identity", n.type, x=n.args[0])
    return same, same
