"""Vector forms of mathematical functions, for any number of lanes, out of float32 arithmetic.

Each takes a vector expression and its lanes and returns an expression; none calls a library. One
table serves the epilogues of products, the elementwise kernels and the passes, so that a function
gives the same bits wherever it stands. Accuracy is stated with each and tested over its range: NaN
stays NaN, infinities give the limit, subnormal numbers are numbers (32-bit NEON takes them for 0).
"""

from __future__ import annotations

from collections.abc import Callable

from millijoule.targets.kernels.functions.activations import (
    gelu,
    gelu_tanh,
    mish,
    relu,
    rsqrt,
    silu,
    sqrt,
)
from millijoule.targets.kernels.functions.bits import Vector
from millijoule.targets.kernels.functions.error_function import erf
from millijoule.targets.kernels.functions.exponential import exp, exp2, sigmoid, softplus, tanh
from millijoule.targets.kernels.functions.logarithm import log, log2, log10
from millijoule.targets.kernels.functions.trigonometric import cos, sin

Function = Callable[[Vector, int], Vector]

# Relax operators of one operand without attributes
OPERATORS: dict[str, Function] = {
    "relax.cos": cos,
    "relax.erf": erf,
    "relax.exp": exp,
    "relax.log": log,
    "relax.nn.gelu": gelu,
    "relax.nn.gelu_tanh": gelu_tanh,
    "relax.nn.relu": relu,
    "relax.nn.silu": silu,
    "relax.rsqrt": rsqrt,
    "relax.sigmoid": sigmoid,
    "relax.sin": sin,
    "relax.sqrt": sqrt,
    "relax.tanh": tanh,
}

# TIR intrinsics that TVM would lower to calls of a scalar library function
INTRINSICS: dict[str, Function] = {
    "tirx.cos": cos,
    "tirx.erf": erf,
    "tirx.exp": exp,
    "tirx.exp2": exp2,
    "tirx.log": log,
    "tirx.log10": log10,
    "tirx.log2": log2,
    "tirx.rsqrt": rsqrt,
    "tirx.sigmoid": sigmoid,
    "tirx.sin": sin,
    "tirx.tanh": tanh,
}

__all__ = [
    "INTRINSICS",
    "OPERATORS",
    "Function",
    "Vector",
    "cos",
    "erf",
    "exp",
    "exp2",
    "gelu",
    "gelu_tanh",
    "log",
    "log2",
    "log10",
    "mish",
    "relu",
    "rsqrt",
    "sigmoid",
    "silu",
    "sin",
    "softplus",
    "sqrt",
    "tanh",
]
