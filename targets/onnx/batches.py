"""One graph for any batch: two graphs of different batches, and what they differ in made symbolic.

Both are written from the same model at prime batches, so that a dimension differs between them
exactly where the batch is in it. Input and output shapes get the symbol ``batch``; a shape that a
node is given becomes −1 or is calculated from the first input's; constants with a row per sample
keep one row. What else differs has no symbolic form, and is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from millijoule.errors import UnsupportedError

SYMBOL = "batch"
PROBES = (3, 5)  # batches to write the two graphs at


def any_batch(small: onnx.ModelProto, large: onnx.ModelProto) -> onnx.ModelProto:
    """The graph of both, written at the batches `PROBES`, for every batch.

    Raises UnsupportedError that names the node or tensor whose dependence on the batch is none
    that can be written.
    """
    return _Merge(small, large).run()


class _Merge:
    def __init__(self, small: onnx.ModelProto, large: onnx.ModelProto) -> None:
        self._small, self._large = small, large
        self._constants = tuple(
            {t.name: t for t in model.graph.initializer} for model in (small, large)
        )
        self._shapes: list[onnx.NodeProto] = []  # what calculates symbolic constants
        self._made: dict[tuple[str, str, bool], str] = {}
        self._new: dict[str, onnx.TensorProto] = {}

    def run(self) -> onnx.ModelProto:
        merged = onnx.ModelProto()
        merged.CopyFrom(self._small)
        graph, other = merged.graph, self._large.graph
        for ours, theirs in ((graph.input, other.input), (graph.output, other.output)):
            for a, b in zip(ours, theirs, strict=True):
                _symbolic_shape(a, b)
        self._nodes(graph, other)
        nodes = [*self._shapes, *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        used = {name for node in _every(graph) for name in node.input}
        kept = [t for t in graph.initializer if t.name in used]
        del graph.initializer[:]
        graph.initializer.extend([*kept, *self._new.values()])
        onnx.checker.check_model(merged, full_check=True)
        return merged

    def _nodes(self, ours: onnx.GraphProto, theirs: onnx.GraphProto) -> None:
        """Compare node by node; ``ours`` is changed where they differ."""
        if [n.op_type for n in ours.node] != [n.op_type for n in theirs.node]:
            raise UnsupportedError("[onnx] the graph's operators depend on the batch")
        for a, b in zip(ours.node, theirs.node, strict=True):
            for place, (x, y) in enumerate(zip(a.input, b.input, strict=True)):
                a.input[place] = self._operand(a, x, y)
            for p, q in zip(a.attribute, b.attribute, strict=True):
                if p.type == onnx.AttributeProto.GRAPH:
                    for i, j in zip(p.g.input, q.g.input, strict=True):
                        _symbolic_shape(i, j)
                    for i, j in zip(p.g.output, q.g.output, strict=True):
                        _symbolic_shape(i, j)
                    self._nodes(p.g, q.g)
                elif p != q:
                    raise UnsupportedError(
                        f"[onnx] attribute {p.name} of {a.op_type} ({a.name}) depends on the batch"
                    )

    def _operand(self, node: onnx.NodeProto, x: str, y: str) -> str:
        """The operand of both: itself, or the name of what stands for both constants."""
        if x not in self._constants[0]:
            return x
        small, large = (
            numpy_helper.to_array(t[n]) for t, n in zip(self._constants, (x, y), strict=True)
        )
        if small.shape == large.shape and np.array_equal(small, large):
            return x
        reshape = node.op_type == "Reshape"
        key = (x, y, reshape)
        if key not in self._made:
            made = self._vector(small, large, reshape) if small.shape == large.shape else None
            made = made or self._rows(small, large)
            if made is None:
                raise UnsupportedError(
                    f"[onnx] a constant of {node.op_type} ({node.name}) depends on the batch"
                )
            self._made[key] = made
        return self._made[key]

    def _vector(self, small: np.ndarray, large: np.ndarray, reshape: bool) -> str | None:
        """A list of whole numbers, some of which are multiples of the batch."""
        if small.dtype != np.int64 or small.ndim != 1:
            return None
        multiples = [_multiple(int(a), int(b)) for a, b in zip(small, large, strict=True)]
        if any(m is None for m in multiples):
            return None
        differs = [bool(m) for m in multiples]
        if reshape and sum(differs) == 1:
            return self._constant(np.where(differs, -1, small))
        parts = [
            self._times_batch(m) if m else self._constant(np.array([v], np.int64))
            for m, v in zip(multiples, small, strict=True)
        ]
        return self._node("Concat", parts, axis=0) if len(parts) > 1 else parts[0]

    def _rows(self, small: np.ndarray, large: np.ndarray) -> str | None:
        """A constant of the same row for every sample, along one axis: the row, spread."""
        if small.ndim != large.ndim:
            return None
        axes = [i for i in range(small.ndim) if small.shape[i] != large.shape[i]]
        if len(axes) != 1 or (small.shape[axes[0]], large.shape[axes[0]]) != PROBES:
            return None
        row = small.take([0], axes[0])
        if not all(np.array_equal(x, np.broadcast_to(row, x.shape)) for x in (small, large)):
            return None
        parts = [
            self._times_batch(1) if i == axes[0] else self._constant(np.array([d], np.int64))
            for i, d in enumerate(small.shape)
        ]
        shape = self._node("Concat", parts, axis=0) if len(parts) > 1 else parts[0]
        return self._node("Expand", [self._constant(row), shape])

    def _times_batch(self, factor: int) -> str:
        """[factor · batch], of the first input that has it."""
        key = ("batch", str(factor), False)
        if key not in self._made:
            if factor == 1:
                name, axis = _batched_input(self._small.graph, self._large.graph)
                shape = self._node("Shape", [name])
                at = self._constant(np.array([axis], np.int64))
                self._made[key] = self._node("Gather", [shape, at], axis=0)
            else:
                by = self._constant(np.array([factor], np.int64))
                self._made[key] = self._node("Mul", [self._times_batch(1), by])
        return self._made[key]

    def _constant(self, value: np.ndarray) -> str:
        name = f"any_{len(self._new)}"
        self._new[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _node(self, op: str, inputs: Sequence[str], **attributes: int) -> str:
        name = f"{SYMBOL}_{len(self._shapes)}"
        self._shapes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name


def _every(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Nodes of ``graph`` and of the bodies of its loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _every(attribute.g)


def _multiple(small: int, large: int) -> int | None:
    """0 if both are the same, k if they are k times their batches, None otherwise."""
    if small == large:
        return 0
    factor = small // PROBES[0]
    return factor if (small, large) == tuple(factor * b for b in PROBES) else None


def _dimensions(value: onnx.ValueInfoProto) -> list[int]:
    return [d.dim_value for d in value.type.tensor_type.shape.dim]


def _symbolic_shape(a: onnx.ValueInfoProto, b: onnx.ValueInfoProto) -> None:
    """Put the symbol where the shapes of ``a`` and ``b`` are the batch."""
    for i, pair in enumerate(zip(_dimensions(a), _dimensions(b), strict=True)):
        if pair == PROBES:
            a.type.tensor_type.shape.dim[i].dim_param = SYMBOL
        elif pair[0] != pair[1]:
            raise UnsupportedError(f"[onnx] {a.name} has an axis that is not just the batch")


def _batched_input(small: onnx.GraphProto, large: onnx.GraphProto) -> tuple[str, int]:
    """The first input with the batch in its shape, and where."""
    for a, b in zip(small.input, large.input, strict=True):
        for axis, pair in enumerate(zip(_dimensions(a), _dimensions(b), strict=True)):
            if pair == PROBES:
                return a.name, axis
    raise UnsupportedError("[onnx] no input has the batch in its shape")


def profile(graph: onnx.GraphProto, batches: Sequence[int]) -> dict[str, list[list[int]]]:
    """The shapes of every input with a symbolic batch at each of ``batches``."""
    ranges = {}
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        if any(d.dim_param == SYMBOL for d in dims):
            ranges[value.name] = [
                [b if d.dim_param == SYMBOL else d.dim_value for d in dims] for b in batches
            ]
    return ranges
