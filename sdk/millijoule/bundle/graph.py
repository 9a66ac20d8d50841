"""The part of a manifest that only graphs of other runtimes have: ONNX, Core ML, LiteRT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .fields import Fields

__all__ = ["GRAPH_KINDS", "GraphLayer", "GraphProgram", "GraphState"]

#: ``program.kind`` of graphs, and the runtimes that they are for.
GRAPH_KINDS = {"onnx": "TensorRT", "mlprogram": "Core ML", "tflite": "LiteRT"}

_MAX_NODES = 1 << 20


@dataclass(frozen=True)
class GraphLayer:
    """What became of one operator of the model; entry i tells about ``kernels[i]``.

    Attributes:
        nodes: operators of the format that it was written as; 0 if it was folded away.
        stored_bits: bits per weight in the file, 0 without weights.
        computes: type in which it is calculated.
        form: "operator", "loop" (along time), or how else it was written.
    """

    nodes: int
    stored_bits: int
    computes: str
    form: str = "operator"

    @classmethod
    def from_json(cls, value: Any, where: str) -> GraphLayer:
        """Read one entry of ``graph.layers``."""
        with Fields(value, where) as fields:
            return cls(
                fields.integer("nodes", 0, _MAX_NODES),
                fields.integer("stored_bits", 0, 64),
                fields.text("computes"),
                fields.text("form"),
            )


@dataclass(frozen=True)
class GraphState:
    """A state of a streaming program: the graph's input that holds it, the output that renews it.

    Where both are the same, the runtime keeps the state itself.
    """

    state: str
    input: str
    output: str

    @classmethod
    def from_json(cls, value: Any, where: str) -> GraphState:
        """Read one entry of ``graph.states``."""
        with Fields(value, where) as fields:
            return cls(*(fields.text(name) for name in ("state", "input", "output")))


@dataclass(frozen=True)
class GraphProgram:
    """A program in another runtime's format.

    Attributes:
        format: a key of `GRAPH_KINDS`.
        version: of the format, such as ``opset 17``.
        layers: what became of each operator.
        states: as in ``streaming.states``, in the same order.
        names: the graph's name of an input or output where the format allows not the model's.
        recipe: what the device makes of the graph, and how.
    """

    format: str
    version: str
    layers: tuple[GraphLayer, ...]
    states: tuple[GraphState, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, fields: Fields) -> GraphProgram:
        """Read ``graph``."""
        with fields:
            with fields.object("names") as listed:
                names = {name: listed.text(name) for name in sorted(listed.names())}
            return cls(
                fields.choice("format", GRAPH_KINDS),
                fields.text("version"),
                fields.items("layers", 1 << 16, GraphLayer.from_json),
                fields.items("states", 4096, GraphState.from_json),
                names,
                fields.record("recipe"),
            )
