"""mj inspect: show what is in a bundle, without running it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..bundle import Bundle, Firmware, Kernel, Manifest, ModelInfo, StateSpec, Streaming, TensorSpec
from ..errors import UsageError
from ..profiling.one_bit import PER_OPERATION, one_bit
from ..shapes import Shapes, at_sizes, chosen_sizes, size_text
from ..tensors import complete
from .console import Console
from .inspect_kinds import (
    compact,
    pairs,
    print_cuda,
    print_graph,
    print_placement,
    print_quantization,
    print_split,
)
from .options import add_bundle, add_sizes

__all__ = ["add_arguments", "execute"]

_COUNTS = ("multiplies", "adds", "binary_ops", "weight_bytes", "bytes_read", "bytes_written")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mj inspect``."""
    add_bundle(parser)
    add_sizes(parser, "to count operations and bytes for (default: the largest)")
    parser.add_argument(
        "--placement",
        action="store_true",
        help="on a Mac: where Core ML means to calculate each operator, and its share of the time",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the manifest as tables."""
    if arguments.placement:
        print_placement(arguments.bundle, console)
        return 0
    with Bundle.open(arguments.bundle) as bundle:
        manifest = bundle.manifest
        sample = _sample_sizes(bundle)
    asked = {name: _one(name, sizes) for name, sizes in arguments.size}
    sizes = chosen_sizes(manifest, asked, {dim.name: dim.max for dim in manifest.dims})
    document, manifest = manifest.to_json(), at_sizes(manifest, sizes)
    _print_summary(console, manifest)
    _print_tensors(console, manifest, sample)
    _print_kernels(console, manifest.kernels, sizes)
    if manifest.cuda is not None:
        print_cuda(console, manifest.cuda)
    if manifest.split is not None:
        print_split(console, manifest.split)
    if manifest.graph is not None:
        print_graph(console, manifest.kernels, manifest.graph)
    if manifest.quantization is not None:
        print_quantization(console, manifest.quantization)
    console.text()
    console.table(
        ("file", "bytes", "sha256"),
        [(name, entry.bytes, entry.sha256) for name, entry in sorted(manifest.files.items())],
    )
    counted = {"totals": totals(manifest.kernels), "totals_at": sizes, "sample_sizes": sample}
    console.json({**document, **counted})
    return 0


def _sample_sizes(bundle: Bundle) -> dict[str, int]:
    """Sizes of the first sample; nothing if none varies."""
    if not bundle.manifest.dims:
        return {}
    inputs, _ = complete(bundle.manifest, bundle.samples()[0])
    return Shapes(bundle.manifest).of_inputs(inputs)


def _one(name: str, sizes: Sequence[int]) -> int:
    if len(sizes) != 1:
        raise UsageError(f"--size {name} takes one size here; `mj profile` takes several")
    return sizes[0]


def totals(kernels: Iterable[Kernel]) -> dict[str, int]:
    """Sums of the counts over all kernels, per call of the program."""
    listed = list(kernels)
    return {name: sum(getattr(kernel, name) for kernel in listed) for name in _COUNTS}


def _print_summary(console: Console, manifest: Manifest) -> None:
    model, target, arena, streaming = (
        manifest.model,
        manifest.target,
        manifest.arena,
        manifest.streaming,
    )
    weights = manifest.files[manifest.program.weights].bytes
    rows: list[tuple[str, object]] = [
        ("model", f"{model.name} ({model.family}, {model.variant})"),
        ("parameters", f"{model.parameters:,}"),
        ("as published", _published(model)),
        ("ignored keys", ", ".join(model.ignored_keys)),
        ("source", model.source),
        ("hyperparameters", compact(model.hparams)),
        ("labels", None if model.labels is None else f"{len(model.labels)}"),
        ("front end", None if model.frontend is None else compact(model.frontend)),
        ("target", f"{target.name}: {target.triple}, {target.cpu}, {target.dtype}"),
        ("threads", target.threads),
        ("program", f"{manifest.program.kind}, ABI {manifest.program.abi}"),
        ("weights", f"{weights:,} bytes"),
        ("one bit", _one_bit(manifest)),
        (
            "arena",
            f"{arena.bytes:,} bytes: {arena.planned_bytes:,} planned, {arena.workspace_bytes:,}"
            f" workspace, 2 × {arena.state_bytes:,} states",
        ),
        *_firmware(manifest.firmware),
        ("streaming", streaming and f"delay {streaming.delay} steps, {_limit(streaming)}"),
        ("tolerance", compact(manifest.tolerance)),
        ("toolchain", compact({k: v for k, v in manifest.toolchain.items() if k != "tuning"})),
        ("tuned", _tuned(manifest.toolchain.get("tuning"))),
    ]
    for name, value in rows:
        if value is not None and value != "":
            console.text(f"{name:<16} {value}")


def _tuned(record: Any) -> str | None:
    """Which kernels have schedules of tuning records; None for a bundle built without any."""
    if not isinstance(record, dict):
        return None
    kernels, refused = (pairs(record.get(key)) for key in ("kernels", "refused"))
    names = ", ".join(f"{name} by {digest[:12]}" for name, digest in kernels)
    text = f"{names or 'no kernel'}; sha256 of the records {record.get('sha256')}"
    return text + "".join(f"; {name} not: {why}" for name, why in refused)


def _one_bit(manifest: Manifest) -> str | None:
    """One-bit operations by the papers' count, and what one-bit weights make of the size."""
    found = one_bit(manifest)
    if found is None:
        return None
    return (
        f"{found.binary_ops:,} operations count as {found.binary_ops / PER_OPERATION:,.0f} in"
        f" papers, beside {found.other_ops:,} others; weights with all that is not one bit are"
        f" {found.times_smaller:.1f} times smaller than the parameters in float32"
    )


def _firmware(firmware: Firmware | None) -> list[tuple[str, object]]:
    """What a program for bare metal takes, and of what."""
    if firmware is None:
        return []
    flash, ram, limits = firmware.flash, firmware.ram, firmware.limits
    return [
        (
            "flash",
            f"{flash.total:,} bytes{_of(limits.flash)}: {flash.weights:,} weights,"
            f" {flash.code:,} code, {flash.rodata:,} constants",
        ),
        (
            "RAM",
            f"{ram.total:,} bytes{_of(limits.ram)}: {ram.arena:,} arena, {ram.io:,} inputs and"
            f" outputs, {ram.context + ram.bss:,} variables; the stack comes on top",
        ),
        ("board", limits.board),
        ("emitted as", "C sources" if firmware.emit == "c" else "static library"),
        ("compiler flags", " ".join(firmware.flags)),
    ]


def _of(limit: int | None) -> str:
    return "" if limit is None else f" of {limit:,}"


def _print_tensors(console: Console, manifest: Manifest, sample: Mapping[str, int]) -> None:
    def row(kind: str, spec: TensorSpec | StateSpec) -> tuple[object, ...]:
        return kind, spec.name, spec.dtype, _shape(spec), spec.nbytes

    states = manifest.streaming.states if manifest.streaming else ()
    console.text()
    console.table(
        ("tensor", "name", "dtype", "shape", "bytes"),
        [
            *(
                ("dim", d.name, "", f"{d.min} to {d.max}, sample {sample[d.name]}", "")
                for d in manifest.dims
            ),
            *(row("input", spec) for spec in manifest.inputs),
            *(row("output", spec) for spec in manifest.outputs),
            *(row("state", spec) for spec in states),
        ],
    )


def _shape(spec: TensorSpec | StateSpec) -> str:
    """The shape, with the names of dimensions where sizes vary."""
    sizes = spec.sizes if isinstance(spec, TensorSpec) else None
    return str(list(spec.shape)) if sizes is None else f"[{', '.join(sizes)}]"


def _print_kernels(console: Console, kernels: Iterable[Kernel], sizes: Mapping[str, int]) -> None:
    rows: list[tuple[object, ...]] = [
        (
            index,
            kernel.op,
            kernel.layer,
            kernel.multiplies,
            kernel.adds,
            kernel.binary_ops,
            kernel.bytes_read + kernel.bytes_written,
            kernel.spike_input.tap if kernel.spike_input else "",
        )
        for index, kernel in enumerate(kernels)
    ]
    sums = totals(kernels)
    moved = sums["bytes_read"] + sums["bytes_written"]
    counts = (sums["multiplies"], sums["adds"], sums["binary_ops"])
    rows.append(("", "total", "", *counts, moved, ""))
    console.text()
    columns = ("kernel", "op", "layer", "multiplies", "adds", "binary ops", "bytes", "driven by")
    console.table(columns, rows)
    if sizes:
        console.text(f"operations and bytes of kernels are those of {size_text(sizes)}")
    if any(kernel.spike_input for kernel in kernels):
        console.text("adds of spike-driven kernels are those of a dense input (rate 1)")


def _published(model: ModelInfo) -> str | None:
    """The model's dense multiply-accumulates as papers count them, by groups of layers."""
    if not model.reference_macs:
        return None
    groups = ", ".join(f"{g} {n / 1e6:.4g} M" for g, n in model.published_macs().items())
    return f"{sum(model.reference_macs.values()) / 1e6:.4g} M MAC per sample: {groups}"


def _limit(streaming: Streaming) -> str:
    return f"at most {streaming.limit} steps" if streaming.limit else "endless"
