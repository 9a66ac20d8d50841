"""What ``mj inspect`` shows of some kinds of programs only: GPUs, other runtimes, integers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..bundle import CudaProgram, GraphProgram, Kernel, SplitPlan
from ..errors import UsageError
from ..report.accuracy import accuracy_table, quantized_layers
from ..session import load
from .console import Console

__all__ = [
    "compact",
    "pairs",
    "print_cuda",
    "print_graph",
    "print_placement",
    "print_quantization",
    "print_split",
]


def print_cuda(console: Console, cuda: CudaProgram) -> None:
    """How every kernel is launched, and what its machine code takes."""
    resources = {(kernel.name, kernel.sm): kernel for kernel in cuda.kernels}
    console.text()
    console.text(
        f"machine code for {', '.join(f'sm_{sm}' for sm in cuda.sms)}; occupancy is estimated from"
        " the limits of a multiprocessor"
    )
    rows = []
    for sm in cuda.sms:
        for launch in cuda.launches:
            k = resources[launch.kernel, sm]
            sizes = ["x".join(map(str, size)) for size in (launch.grid, launch.block)]
            share = f"{k.occupancy:.0%} ({k.limit})"
            rows.append(
                (launch.call, k.name, sm, *sizes, k.registers, k.shared, k.spill_bytes, share)
            )
    columns = ("kernel", "name", "sm", "blocks", "threads", "registers", "shared", "spilled")
    console.table((*columns, "occupancy"), rows)


def print_split(console: Console, split: SplitPlan) -> None:
    """Dense regions that another runtime could take, and what stays."""
    console.text()
    rows = [
        (
            region.graph,
            len(region.operators),
            f"{region.layers[0]} … {region.layers[-1]}" if region.layers else "",
            region.macs,
            ", ".join(f"{s.name} {list(s.shape)}" for s in region.inputs),
            ", ".join(f"{s.name} {list(s.shape)}" for s in region.outputs),
            region.crossing_bytes,
            f"{region.first_kernel} … {region.first_kernel + region.kernels - 1}"
            if region.kernels
            else region.refused or "shared with the rest",
        )
        for region in split.regions
    ]
    columns = (
        "region",
        "operators",
        "layers",
        "MAC",
        "takes",
        "gives",
        "bytes crossing",
        "kernels",
    )
    console.table(columns, rows)
    kept = ", ".join(f"{n} × {name}" for name, n in Counter(split.kept).items())
    console.text(
        f"graphs for {split.runtime}; by kernels of ours alone: {kept or 'nothing'}; on the device"
        " an engine takes the place of a region's kernels, which run where there is none"
    )


def print_graph(console: Console, kernels: Iterable[Kernel], graph: GraphProgram) -> None:
    """What became of every operator in the other runtime's format, and the device's recipe."""
    console.text()
    recipe = {key: value for key, value in graph.recipe.items() if key != "plugins"}
    console.text(f"{graph.format}, {graph.version}; recipe {compact(recipe) or 'none'}")
    if isinstance(plugins := graph.recipe.get("plugins"), dict):
        _print_plugins(console, plugins)
    console.table(
        ("kernel", "op", "layer", "written as", "nodes", "bits per weight", "computes in"),
        [
            (i, k.op, k.layer, w.form, w.nodes, w.stored_bits or "", w.computes)
            for i, (k, w) in enumerate(zip(kernels, graph.layers, strict=True))
        ],
    )


def _print_plugins(console: Console, plugins: dict[str, Any]) -> None:
    """The second graph: operators that kernels of ours calculate, and on which GPUs."""
    nodes = ", ".join(f"{count} × {op}" for op, count in pairs(plugins.get("nodes")))
    listed = plugins.get("sms")
    sms = ", ".join(f"sm_{sm}" for sm in listed) if isinstance(listed, list) else "no GPU"
    console.text(
        f"{plugins.get('graph')}: {nodes} by kernels of ours for {sms}; elsewhere, and where"
        " TensorRT takes no plugins, the graph below"
    )


def print_quantization(console: Console, record: dict[str, Any]) -> None:
    """Int8 against float, and what became of the layers."""
    for table in (accuracy_table(record), quantized_layers(record)):
        console.text()
        console.text(table.title)
        console.table(table.columns, table.rows)


def print_placement(path: str, console: Console) -> None:
    """Print Core ML's plan of the operators; only its own executor has one."""
    with load(path) as session:
        plan = getattr(session.program, "placement", None)
        if plan is None:
            raise UsageError("--placement is for bundles of target coreml, on a Mac")
        placed = plan()
        kernels = session.manifest.kernels
    columns = ("operator", "name", "layer", "runs on", "could run on", "share")
    rows = [
        (
            p.operator,
            p.name,
            kernels[p.kernel].layer if p.kernel is not None and p.kernel < len(kernels) else "",
            p.device or "unknown",
            ", ".join(p.supported),
            p.weight,
        )
        for p in placed
    ]
    console.table(columns, rows)
    console.json([dict(zip(columns, row, strict=True)) for row in rows])


def pairs(value: Any) -> list[tuple[str, str]]:
    """The items of an object of texts; recipes and toolchains may hold anything there."""
    return sorted((k, str(v)) for k, v in value.items()) if isinstance(value, dict) else []


def compact(value: dict[str, Any]) -> str:
    """A JSON object without its braces."""
    return json.dumps(value, sort_keys=True)[1:-1]
