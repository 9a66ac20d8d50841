"""A written graph → the manifest of its bundle: counts per operator, stored and computed types."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from millijoule.bundle import (
    Arena,
    GraphLayer,
    GraphProgram,
    GraphState,
    Kernel,
    KernelOutput,
    Manifest,
    Program,
)
from millijoule.bundle import Target as TargetInfo
from millijoule.converters.importer import COMPOSITE_PREFIX
from millijoule.converters.model import Model
from millijoule.converters.ops import VOCABULARY, TensorType
from millijoule.targets import versions
from millijoule.targets.describe import io_specs, model_info, streaming_info
from millijoule.targets.graph.node import Arg, Node, Value, Written
from millijoule.targets.target import Target


def describe_graph(
    model: Model,
    target: Target,
    *,
    precision: str,
    graph: GraphProgram,
    written: Sequence[Written],
    states: Sequence[tuple[str, TensorType]],
    files: tuple[str, str],
    packages: Sequence[str],
) -> Manifest:
    """The manifest of ``model`` written as a graph.

    Args:
        precision: type inside the graph.
        graph: what is known of the program; its layers and states are filled in here.
        written: what every operator became.
        states: types of the states as the graph holds them.
        files: members with the program and with its weights (the same where they are one).
        packages: distributions whose versions shaped the graph.
    """
    inputs, outputs = io_specs(model)
    return Manifest(
        model=model_info(model),
        target=TargetInfo(target.name, target.kind, "", "", dtype=precision),
        inputs=inputs,
        outputs=outputs,
        program=Program(target.kind, *files, 1),
        arena=Arena(0, 0, 0, 0),
        kernels=tuple(kernel_of(w.node, i) for i, w in enumerate(written)),
        streaming=streaming_info(model, states),
        graph=graph,
        toolchain=versions.packages(packages),
        tolerance=tolerance_of(model, precision),
    )


def layer_of(written: Written, precision: str, stored_bits: int | None = None) -> GraphLayer:
    """What became of one operator, stored as its type says unless ``stored_bits`` knows better."""
    weights = weights_of(written.node)
    widest = 16 if precision == "float16" else 32
    bits = max((min(w.dtype.itemsize * 8, widest) for w in weights), default=0)
    return GraphLayer(
        nodes=written.nodes,
        stored_bits=bits if stored_bits is None else stored_bits,
        computes=precision if written.node.type.dtype == "float32" else written.node.type.dtype,
        form="loop" if written.node.scan else "operator",
    )


def state_pairs(names: Sequence[str]) -> tuple[GraphState, ...]:
    """States as inputs ``state:<name>`` and outputs ``next:<name>``."""
    return tuple(GraphState(n, f"state:{n}", f"next:{n}") for n in names)


def sample_outputs(model: Model) -> dict[str, np.ndarray]:
    """What a graph can be compared with: the model's outputs, not what is read in between."""
    names = {name for name, _ in model.outputs}
    if model.streaming is not None:
        names |= {f"all_seq_{name}" for name in names}
    return {n: v for n, v in model.sample_outputs.items() if n in names}


def weights_of(node: Node) -> list[np.ndarray]:
    """Constant operands that are more than a number."""
    return [a for a in _flat(node.args) if isinstance(a, np.ndarray) and a.size > 1]


def tolerance_of(model: Model, precision: str) -> dict[str, float]:
    """The model's, or for float16 what 11 bits leave of outputs of the samples' size.

    2⁻⁸ of the largest value: about eight roundings of half a unit of 2⁻¹⁰ that add up.
    """
    if precision == "float32":
        return dict(model.tolerance)
    sizes = {n: float(np.abs(v).max(initial=0)) for n, v in model.sample_outputs.items()}
    return {"default": 2**-8} | {n: 2**-8 * max(size, 1.0) for n, size in sizes.items()}


def kernel_of(node: Node, index: int) -> Kernel:
    """The manifest's entry of one operator."""
    multiplies, adds = arithmetic(node)
    operands = [a for a in _flat(node.args) if isinstance(a, Value)]
    weights = sum(w.nbytes for w in weights_of(node))
    op = node.op.removeprefix("relax.").removeprefix(COMPOSITE_PREFIX)
    return Kernel(
        name=f"{index}_{op}",
        op=op,
        layer=node.layer,
        multiplies=multiplies,
        adds=adds,
        binary_ops=0,
        weight_bytes=weights,
        bytes_read=sum(v.type.nbytes for v in operands) + weights,
        bytes_written=sum(t.nbytes for t in node.results),
        outputs=tuple(KernelOutput(None, None, t.shape, t.dtype) for t in node.results),
        spike_input=None,
    )


def _flat(args: Sequence[Arg]) -> list[Any]:
    """Operands with lists of operands opened."""
    return [x for a in args for x in (_flat(a) if isinstance(a, tuple) else [a])]


def arithmetic(node: Node) -> tuple[int, int]:
    """(multiplies, adds) of one operator as it is written: dense, whatever is zero."""
    if node.scan is not None or node.op.startswith(COMPOSITE_PREFIX):
        op = VOCABULARY[node.op.removeprefix(COMPOSITE_PREFIX)]
        types = [_type(a) for a in node.args]
        counts = op.counts(node.attrs, types)
        return counts.multiplies, counts.adds
    rule = _RULES.get(node.op)
    return rule(node) if rule else (0, 0)


def _type(arg: Arg) -> TensorType:
    if isinstance(arg, Value):
        return arg.type
    array = np.asarray(arg)
    return TensorType(array.shape, str(array.dtype))


def _product(node: Node) -> tuple[int, int]:
    depth = _type(node.args[0]).shape[-1]
    return node.type.size * depth, node.type.size * depth


def _convolution(node: Node) -> tuple[int, int]:
    kernel = _type(node.args[1]).shape  # OIHW: inputs of a group, then taps
    terms = node.type.size * math.prod(kernel[1:])
    return terms, terms


def _attention(node: Node) -> tuple[int, int]:
    batch, queries, heads, size = _type(node.args[0]).shape
    keys, width = _type(node.args[1]).shape[1], _type(node.args[2]).shape[3]
    terms = batch * heads * queries * keys * (size + width)
    return terms, terms


def _multiply(node: Node) -> tuple[int, int]:
    return node.type.size, 0


def _add(node: Node) -> tuple[int, int]:
    return 0, node.type.size


def _reduction(node: Node) -> tuple[int, int]:
    return 0, _type(node.args[0]).size


_RULES: dict[str, Callable[[Node], tuple[int, int]]] = {
    "relax.matmul": _product,
    "relax.nn.conv1d": _convolution,
    "relax.nn.conv2d": _convolution,
    "relax.nn.conv3d": _convolution,
    "relax.nn.attention": _attention,
    "relax.nn.attention_bias": _attention,
    "relax.multiply": _multiply,
    "relax.divide": _multiply,
    "relax.add": _add,
    "relax.subtract": _add,
    "relax.sum": _reduction,
    "relax.mean": _reduction,
}
