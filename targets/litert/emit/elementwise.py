"""Elementwise operators."""

from __future__ import annotations

from functools import reduce

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Arg, Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.kernels.functions.error_function import ERF_LIMIT, ERF_P, ERF_Q
from millijoule.targets.litert.builder import DTYPES, LitertEmitter

emits = Registry()

_SAME = {
    "abs": "ABS", "add": "ADD", "ceil": "CEIL", "cos": "COS", "divide": "DIV", "equal": "EQUAL",
    "exp": "EXP", "floor": "FLOOR", "floor_divide": "FLOOR_DIV", "floor_mod": "FLOOR_MOD",
    "greater": "GREATER", "greater_equal": "GREATER_EQUAL", "less": "LESS",
    "less_equal": "LESS_EQUAL", "log": "LOG", "logical_and": "LOGICAL_AND",
    "logical_not": "LOGICAL_NOT", "logical_or": "LOGICAL_OR", "maximum": "MAXIMUM",
    "minimum": "MINIMUM", "multiply": "MUL", "negative": "NEG", "nn.relu": "RELU",
    "not_equal": "NOT_EQUAL", "power": "POW", "round": "ROUND", "rsqrt": "RSQRT",
    "sigmoid": "LOGISTIC", "sign": "SIGN", "sin": "SIN", "sqrt": "SQRT", "square": "SQUARE",
    "subtract": "SUB", "tanh": "TANH",
}  # fmt: skip


@emits(*(f"relax.{name}" for name in _SAME))
def same(g: LitertEmitter, n: Node) -> Value:
    """The operator of the other name; both broadcast as NumPy does, to four axes at least."""
    return g.op(_SAME[n.op.removeprefix("relax.")], _spread(g, n), n.type)


def _spread(g: LitertEmitter, n: Node) -> list[Arg]:
    """Operands; beyond four axes kernels do not broadcast, so the smaller one is spread first."""
    if len(n.type.shape) <= 4 or len(n.args) < 2:
        return list(n.args)
    spread: list[Arg] = []
    for arg in n.args:
        value = g.value(arg)
        if value.type.size > 1 and value.type.shape != n.type.shape:
            shape = TensorType(n.type.shape, value.type.dtype)
            value = g.op("BROADCAST_TO", [value, g.ints(shape.shape)], shape)
        spread.append(value)
    return spread


def number(value: float, t: TensorType) -> np.ndarray:
    """A scalar constant of the type of ``t``."""
    return np.array(value, t.dtype)


@emits("relax.where")
def where(g: LitertEmitter, n: Node) -> Value:
    """SELECT_V2 broadcasts."""
    return g.op("SELECT_V2", _spread(g, n), n.type)


@emits("relax.bitwise_and", "relax.bitwise_or", "relax.bitwise_not")
def bitwise(g: LitertEmitter, n: Node) -> Value:
    """On truth values the logical operators; TFLite has none on integers."""
    if n.type.dtype != "bool":
        raise UnsupportedError(
            f"[litert] {n.op.removeprefix('relax.')} of layer {n.layer!r} is on {n.type.dtype}, but"
            " TFLite has it for bool only"
        )
    return g.op(f"LOGICAL_{n.op.rsplit('_', 1)[1].upper()}", n.args, n.type)


@emits("relax.trunc")
def trunc(g: LitertEmitter, n: Node) -> Value:
    """sign(x)·⌊|x|⌋."""
    whole = g.op("FLOOR", [g.op("ABS", n.args, n.type)], n.type)
    return g.op("MUL", [g.op("SIGN", n.args, n.type), whole], n.type)


@emits("relax.clip")
def clip(g: LitertEmitter, n: Node) -> Value:
    """min(max(x, low), high)."""
    x, low, high = n.args
    above = g.op("MAXIMUM", [x, number(float(low), n.type)], n.type)  # type: ignore[arg-type]
    return g.op("MINIMUM", [above, number(float(high), n.type)], n.type)  # type: ignore[arg-type]


@emits("relax.astype")
def astype(g: LitertEmitter, n: Node) -> Value:
    """CAST; int8 weights in the fewest bits that hold them, dequantized by 1."""
    x = n.args[0]
    if isinstance(x, np.ndarray) and x.dtype == np.int8:
        return g.op("DEQUANTIZE", [g.constant(x, narrow_bits(x), 1.0)], n.type)
    source = DTYPES[g.value(x).type.dtype]
    return g.op("CAST", [x], n.type, inDataType=source, outDataType=DTYPES[n.type.dtype])


def narrow_bits(w: np.ndarray) -> int:
    """2 for values from -2 to 1, 4 for -8 to 7, else 0: bytes as they are."""
    for bits in (2, 4):
        if w.min() >= -(1 << (bits - 1)) and w.max() < 1 << (bits - 1):
            return bits
    return 0


def stored_bits(w: np.ndarray) -> int:
    """Bits per element that a constant is stored in."""
    narrow = narrow_bits(w) if w.dtype == np.int8 else 0
    return narrow or w.dtype.itemsize * 8


@emits("relax.nn.silu")
def silu(g: LitertEmitter, n: Node) -> Value:
    """x·σ(x)."""
    return g.op("MUL", [n.args[0], g.op("LOGISTIC", n.args, n.type)], n.type)


@emits("relax.nn.gelu", "relax.nn.gelu_tanh")
def gelu(g: LitertEmitter, n: Node) -> Value:
    """x·Φ(x), or its approximation by a hyperbolic tangent."""
    return g.op("GELU", n.args, n.type, approximate=n.op.endswith("tanh"))


@emits("relax.erf")
def erf(g: LitertEmitter, n: Node) -> Value:
    """The rational function of our own kernels (error below 4e-7): TFLite has no erf."""
    t = n.type
    low = g.op("MAXIMUM", [n.args[0], number(-ERF_LIMIT, t)], t)
    x = g.op("MINIMUM", [low, number(ERF_LIMIT, t)], t)
    square = g.op("MUL", [x, x], t)

    def polynomial(coefficients: tuple[float, ...]) -> Value:
        *rest, first = coefficients
        start = g.op("MUL", [square, number(first, t)], t)

        def step(value: Value, c: float) -> Value:
            return g.op("MUL", [g.op("ADD", [value, number(c, t)], t), square], t)

        inner = reduce(step, reversed(rest[1:]), start)
        return g.op("ADD", [inner, number(rest[0], t)], t)

    ratio = g.op("DIV", [polynomial(ERF_P), polynomial(ERF_Q)], t)
    return g.op("MUL", [x, ratio], t)


@emits("relax.nn.leakyrelu")
def leakyrelu(g: LitertEmitter, n: Node) -> Value:
    """x where positive, else αx."""
    return g.op("LEAKY_RELU", n.args, n.type, alpha=float(n.attrs["alpha"]))


@emits("relax.nn.softplus")
def softplus(g: LitertEmitter, n: Node) -> Value:
    """max(x, 0) + log(1 + exp(−|x|)), which overflows nowhere; scaled by β."""
    t, beta = n.type, float(n.attrs["beta"])
    x = g.op("MUL", [n.args[0], number(beta, t)], t)
    tail = g.op("EXP", [g.op("NEG", [g.op("ABS", [x], t)], t)], t)
    log = g.op("LOG", [g.op("ADD", [tail, number(1, t)], t)], t)
    return g.op("DIV", [g.op("ADD", [g.op("RELU", [x], t), log], t), number(beta, t)], t)


@emits("relax.nn.dropout")
def dropout(g: LitertEmitter, n: Node) -> tuple[Value, ...]:
    """Nothing, at inference."""
    return (g.value(n.args[0]), g.value(n.args[0]))
