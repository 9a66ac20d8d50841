"""Rules between the fields of a manifest: what each part says must fit the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BundleError
from ..sizes import Dim, Extent, Size, dims_of, least, most, parse_size
from .cuda import CUDA_ENTRY, CUDA_SOURCE, STATIC_CUDA
from .firmware import STATIC_LIBRARY
from .graph import GRAPH_KINDS
from .specs import Kernel, KernelOutput, TensorSpec

if TYPE_CHECKING:  # manifest.py imports this module
    from .manifest import Manifest
    from .parts import Streaming

__all__ = ["check_manifest", "count_of", "extents_of"]


def check_manifest(manifest: Manifest) -> None:
    """Check ``manifest`` as a whole.

    Raises:
        BundleError: one line naming the first field that does not fit.
    """
    _check_tensors(manifest)
    _check_sizes(manifest)
    _check_firmware(manifest)
    _check_cuda(manifest)
    _check_split(manifest)
    _check_graph(manifest)
    if manifest.streaming is not None:
        _check_streaming(manifest, manifest.streaming)
    _check_kernels(manifest)
    _check_unique("manifest.kernels[].outputs", (tap.name for _, tap in manifest.taps()))


def _check_unique(where: str, names: Iterable[str | None]) -> None:
    seen: set[str | None] = set()
    for name in names:
        if name in seen:
            raise BundleError(f"[{where}] names must differ, but {name!r} appears twice")
        seen.add(name)


def _check_tensors(manifest: Manifest) -> None:
    _check_unique("manifest.io.inputs", (spec.name for spec in manifest.inputs))
    _check_unique("manifest.io.outputs", (spec.name for spec in manifest.outputs))
    if not manifest.outputs:
        raise BundleError("[manifest.io.outputs] must have at least one output")
    for spec in (*manifest.inputs, *manifest.outputs):
        if spec.batch_axis is not None and spec.shape[spec.batch_axis] != manifest.batch:
            raise BundleError(
                f"[manifest.io] {spec.name!r} has {spec.shape[spec.batch_axis]} samples along axis"
                f" {spec.batch_axis}, but the batch is {manifest.batch}"
            )


def _check_sizes(manifest: Manifest) -> None:
    """Sizes that vary are made of the manifest's dimensions, and ``shape`` has their largest."""
    dims = {dim.name: dim for dim in manifest.dims}
    _check_unique("manifest.io.dims", (dim.name for dim in manifest.dims))
    found: set[Dim] = set()
    for spec in manifest.inputs:
        for extent in extents_of(spec, dims):
            if isinstance(extent, Size) and extent.dim is None:
                raise BundleError(
                    f"[manifest.io] a size of input {spec.name!r} must be one dimension, but is"
                    f" {extent}"
                )
            found |= dims_of([extent])
    for dim in set(dims.values()) - found:
        raise BundleError(f"[manifest.io.dims] {dim.name!r} must be a size of an input")
    for spec in manifest.outputs:
        extents_of(spec, dims)
    for kernel in manifest.kernels:
        for output in kernel.outputs:
            extents_of(output, dims)
        for name, text in kernel.sizes.items():
            count_of(kernel, name, text, dims)
    if dims and (manifest.streaming is not None or manifest.firmware is not None):
        raise BundleError("[manifest.io.dims] must be empty for streaming and for bare metal")


def extents_of(spec: TensorSpec | KernelOutput, dims: Mapping[str, Dim]) -> tuple[Extent, ...]:
    """The sizes of a tensor's axes, numbers or sizes made of ``dims``.

    Raises:
        BundleError: a text that is no such size, or one whose largest value is not in the shape.
    """
    if spec.sizes is None:
        return spec.shape
    extents = []
    for text, largest in zip(spec.sizes, spec.shape, strict=True):
        try:
            extent = parse_size(text, dims)
        except ValueError as error:
            raise BundleError(f"[manifest] sizes of {spec.name!r}: {error}") from None
        if most(extent) != largest or least(extent) < 1:
            raise BundleError(
                f"[manifest] {spec.name!r} has a largest size of {largest} for {text}, which is"
                f" {least(extent)} to {most(extent)}"
            )
        extents.append(extent)
    return tuple(extents)


def count_of(kernel: Kernel, name: str, text: str, dims: Mapping[str, Dim]) -> Extent:
    """Count ``name`` of a kernel as ``text`` says it, made of ``dims``.

    Raises:
        BundleError: a text that is no size, or one whose largest value is not the kernel's count.
    """
    try:
        count = parse_size(text, dims)
    except ValueError as error:
        raise BundleError(f"[manifest] {name} of kernel {kernel.name!r}: {error}") from None
    if most(count) != getattr(kernel, name) or least(count) < 0:
        raise BundleError(
            f"[manifest] kernel {kernel.name!r} has at most {getattr(kernel, name)} {name}, but"
            f" {text} is {least(count)} to {most(count)}"
        )
    return count


def _check_firmware(manifest: Manifest) -> None:
    """Programs for bare metal, and only those, say how they are linked."""
    bare_metal = manifest.program.kind == STATIC_LIBRARY
    if bare_metal != (manifest.firmware is not None):
        rule = "is required for" if bare_metal else "must be null unless"
        raise BundleError(f"[manifest.firmware] {rule} program.kind {STATIC_LIBRARY!r}")
    if manifest.firmware is not None and manifest.firmware.ram.arena != manifest.arena.bytes:
        raise BundleError(
            f"[manifest.firmware.ram.arena] must be arena.bytes, {manifest.arena.bytes}, but"
            f" received {manifest.firmware.ram.arena}"
        )


def _check_cuda(manifest: Manifest) -> None:
    """Programs for NVIDIA GPUs, and only those, say how their kernels are launched."""
    cuda, kind = manifest.cuda, manifest.program.kind
    if (kind == STATIC_CUDA) != (cuda is not None):
        rule = "is required for" if kind == STATIC_CUDA else "must be null unless"
        raise BundleError(f"[manifest.cuda] {rule} program.kind {STATIC_CUDA!r}")
    if cuda is None:
        return
    calls = [launch.call for launch in cuda.launches]
    if calls != sorted(calls) or (calls and calls[-1] >= len(manifest.kernels)):
        raise BundleError(
            f"[manifest.cuda.launches] must be in order of the {len(manifest.kernels)} kernels"
        )
    have = {(kernel.name, kernel.sm) for kernel in cuda.kernels}
    for launch in cuda.launches:
        if not all((launch.kernel, sm) in have for sm in cuda.sms):
            raise BundleError(
                f"[manifest.cuda.kernels] must describe {launch.kernel!r} for every GPU of sms"
            )
    for name in (CUDA_SOURCE, CUDA_ENTRY):
        if name not in manifest.files:
            raise BundleError(f"[manifest.files] must have {name!r} for {STATIC_CUDA}")


def _check_split(manifest: Manifest) -> None:
    """Regions are parts of GPU programs, with a graph each."""
    if manifest.split is None:
        return
    if manifest.cuda is None:
        raise BundleError(f"[manifest.split] must be null unless program.kind {STATIC_CUDA!r}")
    for region in manifest.split.regions:
        if region.graph not in manifest.files:
            raise BundleError(f"[manifest.split] graph {region.graph!r} is no member of the bundle")
        if region.first_kernel + region.kernels > len(manifest.kernels):
            raise BundleError(
                f"[manifest.split] kernels of {region.graph!r} must be some of the program's"
                f" {len(manifest.kernels)}, but end with {region.first_kernel + region.kernels}"
            )
    _check_unique("manifest.split.regions", (region.graph for region in manifest.split.regions))


def _check_graph(manifest: Manifest) -> None:
    """Programs of other runtimes, and only those, say what became of every layer."""
    graph, kind = manifest.graph, manifest.program.kind
    if (kind in GRAPH_KINDS) != (graph is not None):
        rule = "is required for" if kind in GRAPH_KINDS else "must be null for"
        raise BundleError(f"[manifest.graph] {rule} program.kind {kind!r}")
    if graph is None:
        return
    if graph.format != kind:
        raise BundleError(f"[manifest.graph.format] must be {kind!r}, but is {graph.format!r}")
    if len(graph.layers) != len(manifest.kernels):
        raise BundleError(
            f"[manifest.graph.layers] must be as many as kernels, {len(manifest.kernels)}, but"
            f" received {len(graph.layers)}"
        )
    states = [s.name for s in manifest.streaming.states] if manifest.streaming else []
    if [s.state for s in graph.states] != states:
        raise BundleError("[manifest.graph.states] must be those of manifest.streaming, in order")


def _check_streaming(manifest: Manifest, streaming: Streaming) -> None:
    where = "manifest.streaming"
    _check_unique(f"{where}.states", (state.name for state in streaming.states))
    inputs = {spec.name: spec for spec in manifest.inputs}
    if set(inputs) != {streaming.sequence_input, streaming.valid_input} or len(inputs) != 2:
        raise BundleError(
            f"[{where}] the inputs must be sequence_input {streaming.sequence_input!r} and"
            f" valid_input {streaming.valid_input!r}, but are {sorted(inputs)}"
        )
    valid = inputs[streaming.valid_input]
    if valid.dtype != "int32" or valid.shape != (1,) or valid.batch_axis is not None:
        raise BundleError(
            f"[{where}.valid_input] {valid.name!r} must be int32 of shape [1] with batch_axis null"
        )
    if inputs[streaming.sequence_input].batch_axis != 0:
        raise BundleError(f"[{where}.sequence_input] must have its batch on axis 0")
    if streaming.final_output not in {spec.name for spec in manifest.outputs}:
        raise BundleError(f"[{where}.final_output] {streaming.final_output!r} is not an output")
    alignment = manifest.arena.alignment
    needed = sum(-(-state.nbytes // alignment) * alignment for state in streaming.states)
    if manifest.graph is None and needed > manifest.arena.state_bytes:
        raise BundleError(
            f"[manifest.arena.state_bytes] must be at least the {needed} bytes of the states, but"
            f" received {manifest.arena.state_bytes}"
        )


def _check_kernels(manifest: Manifest) -> None:
    taps = {tap.name for _, tap in manifest.taps()}
    for index, kernel in enumerate(manifest.kernels):
        where = f"manifest.kernels[{index}]"
        for position, output in enumerate(kernel.outputs):
            _check_place(manifest, output, f"{where}.outputs[{position}]")
        _check_spike_input(kernel, taps, where)


def _check_place(manifest: Manifest, output: KernelOutput, where: str) -> None:
    """An output in the arena must lie inside it, at a multiple of its element size."""
    if output.offset is None:
        return
    if output.offset + output.nbytes > manifest.arena.bytes:
        raise BundleError(
            f"[{where}] {output.nbytes} bytes at offset {output.offset} reach beyond the arena of"
            f" {manifest.arena.bytes} bytes"
        )
    if output.offset % np.dtype(output.dtype).itemsize:
        raise BundleError(f"[{where}.offset] {output.offset} is not aligned to {output.dtype}")


def _check_spike_input(kernel: Kernel, taps: set[str | None], where: str) -> None:
    spikes = kernel.spike_input
    if spikes is not None and spikes.tap not in taps:
        raise BundleError(f"[{where}.spike_input.tap] {spikes.tap!r} is not a tap of this program")
