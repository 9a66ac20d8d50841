"""Which dense parts of a GPU program another runtime could calculate, and what crosses over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .archive import check_name
from .fields import Fields
from .specs import TensorSpec

__all__ = ["RUNTIMES", "SplitPlan", "SplitRegion"]

#: Runtimes that regions are written for.
RUNTIMES = ("tensorrt",)

_MAX_REGIONS, _MAX_OPERATORS, _MAX_TENSORS = 1 << 12, 1 << 16, 1 << 10


@dataclass(frozen=True)
class SplitRegion:
    """Operators that follow each other, without any of the vocabulary in between.

    Attributes:
        graph: the member with their ONNX graph.
        operators: their names in order.
        layers: the layers that they belong to, in order.
        macs: dense multiply-accumulates per call.
        inputs: what the graph takes from the rest of the program,
        outputs: and what it gives back.
        first_kernel: the first of the program's kernels that calculate it,
        kernels: and how many follow each other; 0 if none are its own,
        refused: and then why, or "" in bundles from before kernels had regions.
    """

    graph: str
    operators: tuple[str, ...]
    layers: tuple[str, ...]
    macs: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    first_kernel: int = 0
    kernels: int = 0
    refused: str = ""

    @property
    def crossing_bytes(self) -> int:
        """Bytes that pass the boundary per call, both ways."""
        return sum(spec.nbytes for spec in (*self.inputs, *self.outputs))

    @classmethod
    def from_json(cls, value: Any, where: str) -> SplitRegion:
        """Read one entry of ``split.regions``."""
        with Fields(value, where) as fields:
            return cls(
                graph=check_name(fields.text("graph")),
                operators=fields.texts("operators", _MAX_OPERATORS),
                layers=fields.texts("layers", _MAX_OPERATORS),
                macs=fields.integer("macs"),
                inputs=fields.items("inputs", _MAX_TENSORS, TensorSpec.from_json),
                outputs=fields.items("outputs", _MAX_TENSORS, TensorSpec.from_json),
                first_kernel=fields.integer("first_kernel") if fields.has("first_kernel") else 0,
                kernels=fields.integer("kernels") if fields.has("kernels") else 0,
                refused=fields.line("refused") if fields.has("refused") else "",
            )


@dataclass(frozen=True)
class SplitPlan:
    """``regions`` for ``runtime``; ``kept``: operators that only our kernels calculate, in order.

    The program of the bundle has kernels of ours for everything, regions included; an executor may
    put engines in the place of those that are a region's own.
    """

    runtime: str
    regions: tuple[SplitRegion, ...]
    kept: tuple[str, ...]

    @classmethod
    def from_json(cls, fields: Fields) -> SplitPlan:
        """Read ``split``."""
        with fields:
            return cls(
                fields.choice("runtime", RUNTIMES),
                fields.items("regions", _MAX_REGIONS, SplitRegion.from_json),
                fields.texts("kept", _MAX_OPERATORS),
            )
