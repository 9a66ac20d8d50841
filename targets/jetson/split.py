"""Dense regions of a model as ONNX graphs of their own, which TensorRT could take over.

A region is a run of bindings of ``main`` without vocabulary operators, every one of which the ONNX
table can write, with enough arithmetic to be worth the change of runtimes. Runs of bindings are
convex: nothing that a region needs is calculated from what it gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import relax

from millijoule.bundle import SplitPlan, SplitRegion, TensorSpec
from millijoule.converters.importer import COMPOSITE_PREFIX, tensor_type
from millijoule.converters.model import Model
from millijoule.errors import DeviceError, UnsupportedError
from millijoule.targets.jetson.cut import bindings_of, extract, variables_in
from millijoule.targets.passes.match import op_name

LEAST_MACS = 100_000  # below this a region costs more in launches than an engine could save
_FOLDER = "program/split"
_HEAVY = ("relax.matmul", "relax.nn.conv1d", "relax.nn.conv2d")
_FREE = ("relax.permute_dims", "relax.reshape", "relax.expand_dims", "relax.squeeze")


@dataclass(frozen=True)
class Split:
    """The plan, the graphs by name of their member, and each region's bindings (first, end)."""

    plan: SplitPlan
    files: Mapping[str, bytes]
    runs: tuple[tuple[int, int], ...]


def split_for_tensorrt(model: Model, least_macs: int = LEAST_MACS) -> Split:
    """Dense regions of ``model`` of at least ``least_macs`` multiply-accumulates each.

    Raises DeviceError without the package onnx, UnsupportedError for a model without such a region.
    """
    table = _table()
    bindings = bindings_of(model.module)
    results = set(variables_in(model.module["main"].body.body))
    regions: list[SplitRegion] = []
    files: dict[str, bytes] = {}
    runs: list[tuple[int, int]] = []
    for start, end in _runs(bindings, table):
        run = bindings[start:end]
        macs = sum(_macs(b.value) for b in run)
        if macs < least_macs:
            continue
        later = results | {v for b in bindings[end:] for v in variables_in(b.value)}
        part = _part(model, run, later, f"region{len(regions)}")
        name = f"{_FOLDER}/{part.name}.onnx"
        files[name] = _graph(part)
        regions.append(_describe(model, run, part, name, macs))
        runs.append((start, end))
    if not regions:
        raise UnsupportedError(
            f"[split] a region must have {least_macs:,} multiply-accumulates, but no run of dense"
            " operators of this model has as many; build it without --split"
        )
    taken = {i for run in runs for i in range(*run)}
    kept = [
        _name(model.module, b.value)
        for i, b in enumerate(bindings)
        if i not in taken and isinstance(b.value, relax.Call)
    ]
    return Split(SplitPlan("tensorrt", tuple(regions), tuple(kept)), files, tuple(runs))


def _table() -> Mapping[str, Any]:
    try:
        from millijoule.targets.onnx import TABLE
    except ImportError as error:
        raise DeviceError(
            f"[split] needs the package onnx ({error}); run: pip install 'millijoule[tensorrt]'"
        ) from error
    return TABLE


def _runs(bindings: Sequence[Any], table: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """(first, end) of the longest runs that the table can write, without views at either end."""
    start = 0
    while start < len(bindings):
        end = start
        while end < len(bindings) and op_name(bindings[end].value) in table:
            end += 1
        first, last = start, end
        while first < last and _is_view(bindings[first].value):
            first += 1
        while last > first and _is_view(bindings[last - 1].value):
            last -= 1
        if last > first:
            yield first, last
        start = max(end, start + 1)


def _is_view(value: relax.Expr) -> bool:
    """Whether a call only moves what was calculated before; moves of constants are free."""
    return op_name(value) in _FREE and isinstance(value.args[0], relax.Var)


def _macs(value: relax.Expr) -> int:
    """Dense multiply-accumulates of a call."""
    name = op_name(value)
    if name not in _HEAVY:
        return 0
    out, weights = tensor_type(value).shape, tensor_type(value.args[1]).shape
    depth = weights[-2] if name == "relax.matmul" else math.prod(weights[1:])
    return math.prod(out) * depth


def _part(model: Model, run: Sequence[Any], later: set[relax.Var], name: str) -> Model:
    """The bindings of ``run`` as a model of their own; outputs are what ``later`` reads."""
    piece = extract(model.module, run, later, model.layers)
    return replace(
        model,
        name=name,
        module=tvm.IRModule({"main": piece.module["main"]}),
        layers=piece.layers,
        inputs=tuple((v.name, tensor_type(v)) for v in piece.inputs),
        outputs=tuple((v.name, tensor_type(v)) for v in piece.outputs),
        states=(),
        streaming=None,
        aliases={},
        options={},
        files={},
    )


def _graph(part: Model) -> bytes:
    from millijoule.targets.onnx import onnx_graph

    return onnx_graph(part, target="split").to_bytes()


def _describe(model: Model, run: Sequence[Any], part: Model, graph: str, macs: int) -> SplitRegion:
    layers = (model.layers.get(b.var.name, "") for b in run)
    inputs, outputs = (
        tuple(TensorSpec(name, t.shape, t.dtype, batch_axis=None) for name, t in named)
        for named in (part.inputs, part.outputs)
    )
    return SplitRegion(
        graph=graph,
        operators=tuple(op_name(b.value).removeprefix("relax.") for b in run),
        layers=tuple(dict.fromkeys(layer for layer in layers if layer)),
        macs=macs,
        inputs=inputs,
        outputs=outputs,
    )


def _name(module: tvm.IRModule, call: relax.Call) -> str:
    """Name of an operator as `support` writes it."""
    if op_name(call):
        return op_name(call).removeprefix("relax.")
    composite = str(module[call.op].attrs["Composite"])
    return COMPOSITE_PREFIX + composite.removeprefix(COMPOSITE_PREFIX)
