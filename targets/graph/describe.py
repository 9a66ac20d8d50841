"""A written graph → the manifest of its bundle: counts per operator, stored and computed types."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from millijoule.bundle import (
    SAMPLE_INPUTS,
    SAMPLE_OUTPUTS,
    Arena,
    Bundle,
    GraphLayer,
    GraphProgram,
    GraphState,
    Kernel,
    KernelOutput,
    Manifest,
    Program,
    npz_bytes,
    write_bundle,
)
from millijoule.bundle import Target as TargetInfo
from millijoule.converters.importer import COMPOSITE_PREFIX
from millijoule.converters.model import Model
from millijoule.converters.ops import VOCABULARY, TensorType
from millijoule.targets import versions
from millijoule.targets.describe import io_specs, model_info, streaming_info, tolerance_of
from millijoule.targets.graph.node import Arg, Node, Value, Written
from millijoule.targets.target import Target


@dataclass(frozen=True)
class GraphFile:
    """A written graph.

    ``version``: of the format. ``files``: members by name, of which ``main`` is the graph and holds
    (or stands for) the weights. ``packages``: distributions whose versions shaped it.
    ``stored_bits``: bits per element of a constant. ``recipe``: what the device does with it.
    ``names``: see `GraphProgram`. ``kept``: states that the runtime keeps itself.
    """

    version: str
    files: Mapping[str, bytes]
    main: str
    packages: Sequence[str] = ()
    stored_bits: Callable[[np.ndarray], int] = lambda w: w.dtype.itemsize * 8
    recipe: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    kept: Collection[str] = ()


def write_graph_bundle(
    model: Model,
    target: Target,
    out: Path,
    precision: str,
    graph: GraphFile,
    written: Sequence[Written],
    states: Sequence[tuple[str, TensorType]],
) -> Bundle:
    """Write the bundle of a graph atomically and open it.

    Args:
        precision: "float32" or "float16", the type inside, or "int8" for dense layers in integers.
        written: what every operator of the model became.
        states: names and types of the states as the graph holds them.
    """
    inputs, outputs = io_specs(model)
    program = GraphProgram(
        format=target.kind,
        version=graph.version,
        layers=tuple(_layer(w, precision, graph.stored_bits) for w in written),
        states=tuple(_state(n, n in graph.kept) for n, _ in states),
        names=dict(graph.names),
        recipe=dict(graph.recipe),
    )
    manifest = Manifest(
        model=model_info(model),
        target=TargetInfo(target.name, target.kind, "", "", dtype=precision),
        inputs=inputs,
        outputs=outputs,
        program=Program(target.kind, graph.main, graph.main, 1),
        arena=Arena(0, 0, 0, 0),
        kernels=tuple(kernel_of(w.node, i) for i, w in enumerate(written)),
        streaming=streaming_info(model, states),
        quantization=dict(model.quantization) if model.quantization else None,
        graph=program,
        toolchain=versions.packages(graph.packages),
        tolerance=tolerance_of(model, precision),
    )
    samples = {
        SAMPLE_INPUTS: npz_bytes(model.sample_inputs),
        SAMPLE_OUTPUTS: npz_bytes(sample_outputs(model)),
    }
    write_bundle(out, manifest, {**graph.files, **samples, **model.files})
    return Bundle.open(out)


def _state(name: str, kept: bool) -> GraphState:
    """Where the graph has a state; one that the runtime keeps has one name for both ends."""
    return GraphState(name, f"state:{name}", f"{'state' if kept else 'next'}:{name}")


def _layer(
    written: Written, precision: str, stored_bits: Callable[[np.ndarray], int]
) -> GraphLayer:
    """What became of one operator."""
    widest = 16 if precision == "float16" else 32
    inside = "float32" if precision == "int8" else precision
    stored = [min(stored_bits(w), widest) for w in weights_of(written.node)]
    return GraphLayer(
        nodes=written.nodes,
        stored_bits=max(stored, default=0),
        computes=inside if written.node.type.dtype == "float32" else written.node.type.dtype,
        form="loop" if written.node.scan else "operator",
    )


def sample_outputs(model: Model) -> dict[str, np.ndarray]:
    """What a graph can be compared with: the model's outputs, not what is read in between."""
    names = {name for name, _ in model.outputs}
    if model.streaming is not None:
        names |= {f"all_seq_{name}" for name in names}
    return {n: v for n, v in model.sample_outputs.items() if n in names}


def weights_of(node: Node) -> list[np.ndarray]:
    """Constant operands that are more than a number."""
    return [a for a in _flat(node.args) if isinstance(a, np.ndarray) and a.size > 1]


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
