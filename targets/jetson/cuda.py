"""Scheduled TIR functions → one CUDA C source, and how each function is launched.

TVM's own pipeline with its packed calling convention left out, so that the host part of a function
is nothing but launches of kernels on its parameters. Neither a driver nor the toolkit is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.tirx.build import codegen_build, split_host_device_mods
from tvm_ffi import structural_walk

from millijoule.errors import UnsupportedError
from millijoule.targets.cpu.lower import plain_c_abi
from millijoule.targets.jetson.barriers import check_barriers
from millijoule.targets.jetson.memory import nbytes

_DYNAMIC_SHARED = "tirx.use_dyn_shared_memory"
_AXES = {
    f"{kind}Idx.{axis}": (kind, index)
    for kind in ("block", "thread")
    for index, axis in enumerate("xyz")
}
_CALL = "tirx.call_ffi_kernel"


@dataclass(frozen=True)
class Launch:
    """One launch: ``kernel`` (its symbol) on a grid of blocks.

    ``arguments``: indices of the function's parameters, and behind these of its scratch buffers
    (`Launches.scratch`). ``shared``: bytes of dynamic shared memory.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[int, ...]
    shared: int = 0


@dataclass(frozen=True)
class Launches:
    """What one TIR function became: launches in order, and bytes of each scratch buffer."""

    calls: tuple[Launch, ...]
    scratch: tuple[int, ...] = ()


@dataclass(frozen=True)
class CudaSource:
    """``code``: CUDA C of every kernel. ``functions``: name of a TIR function → its launches."""

    code: str
    functions: Mapping[str, Launches]


def cuda_target(sm: int) -> Any:
    """TVM's target for NVIDIA GPUs of compute capability ``sm`` / 10."""
    return tvm.target.Target(
        {
            "kind": "cuda",
            "arch": f"sm_{sm}",
            "max_num_threads": 1024,
            "max_threads_per_block": 1024,
            "max_shared_memory_per_block": 49152,
            "thread_warp_size": 32,
            "host": {"kind": "llvm", "mtriple": "aarch64-linux-gnu"},
        }
    )


def cuda_source(functions: Mapping[str, tirx.PrimFunc], target: Any) -> CudaSource:
    """Lower bound ``functions`` (symbol → function) for the TVM target ``target``.

    Raises UnsupportedError for a function that is more than launches of kernels, or whose threads
    would race for shared memory.
    """
    device, launches = device_functions(functions, target)
    check_barriers(device)
    _, split = split_host_device_mods(device)
    parts = [
        str(codegen_build(s_tir.pipeline.finalize_device_passes()(part), kind).inspect_source())
        for kind, part in split.items()
    ]
    return CudaSource("\n".join(parts), launches)


def device_functions(
    functions: Mapping[str, tirx.PrimFunc], target: Any
) -> tuple[tvm.IRModule, dict[str, Launches]]:
    """The kernels of bound ``functions`` in lowered form, and how each function launches them."""
    named = {name: f.with_attr("global_symbol", name) for name, f in functions.items()}
    module = tirx.transform.BindTarget(target)(tvm.IRModule(named))
    module = tvm.ir.transform.Sequential(_passes())(module)
    launches = {
        gv.name_hint: _launches(gv.name_hint, f)
        for gv, f in module.functions.items()
        if gv.name_hint in functions
    }
    device = tvm.IRModule(
        {gv: f for gv, f in module.functions.items() if gv.name_hint not in functions}
    )
    return device, {name: launches[name] for name in functions}


def _passes() -> list[tvm.transform.Pass]:
    """TVM's pipeline for GPUs (`tvm.s_tir.pipeline`) with `plain_c_abi` for its own convention."""
    staged, flat = s_tir.transform, tirx.transform
    return [
        staged.CanonicalizeLoop(),
        staged.LowerCrossThreadReduction(),
        staged.LowerInitBlock(),
        staged.PlanAndUpdateBufferAllocationLocation(),
        staged.ConvertBlocksToOpaque(),
        staged.LiftThreadBinding(),
        staged.ManifestSharedMemoryLocalStage(),
        staged.CompactBufferAllocation(),
        staged.LowerAutoCopy(),
        staged.UnifyThreadBinding(),
        staged.LowerMatchBuffer(),
        staged.StmtSimplify(),
        staged.InjectPermutedLayout(),
        staged.AnnotateIrregularLoop(),
        staged.InjectSoftwarePipeline(),
        staged.TransformMmaBufferLayout(),
        staged.LowerOpaqueBlock(),
        flat.FlattenBuffer(),
        flat.BF16ComputeLegalize(),
        flat.NarrowDataType(32),
        staged.LoopPartition(),
        flat.VectorizeLoop(True),
        staged.InjectVirtualThread(),
        staged.InjectDoubleBuffer(),
        flat.StorageRewrite(),
        staged.HoistIfThenElse(),
        flat.UnrollLoop(),
        staged.RenormalizeSplitPattern(),
        flat.StmtSimplify(),
        flat.RemoveNoOp(),
        staged.RewriteUnsafeSelect(),
        flat.CommonSubexprElim(),
        flat.VerifyMemory(),
        plain_c_abi,
        staged.ThreadSync("shared"),
        staged.ThreadSync("shared.dyn"),
        staged.ThreadSync("warp"),
        staged.InferFragment(),
        staged.LowerThreadAllreduce(),
        staged.MergeSharedMemoryAllocations(),
        flat.SplitHostDevice(),
    ]


def _launches(name: str, func: tirx.PrimFunc) -> Launches:
    """The launches in the host part of ``func``, whose parameters are bare pointers."""
    places = {param: index for index, param in enumerate(func.params)}
    scratch: list[int] = []
    calls: list[Launch] = []
    others: list[Any] = []

    def allocate(statement: tirx.AllocBuffer) -> None:
        places[statement.buffer] = len(func.params) + len(scratch)
        scratch.append(nbytes(statement.buffer))

    def declare(statement: tirx.DeclBuffer) -> None:
        places[statement.buffer] = places[_base(statement.data)]

    def call(node: tvm.ir.Call) -> None:
        if getattr(node.op, "name", "") == _CALL:
            calls.append(_launch(name, node, places))

    for kind in (tirx.For, tirx.BufferStore, tirx.IfThenElse):
        structural_walk(func.body, (kind, others.append))
    if others:
        raise UnsupportedError(
            f"[cuda] a function must be launches only, but {name} has a {type(others[0]).__name__}"
            " on the host; bind every loop of its schedule to blocks and threads"
        )
    for kind, visit in (
        (tirx.AllocBuffer, allocate),
        (tirx.DeclBuffer, declare),
        (tvm.ir.Call, call),
    ):
        structural_walk(func.body, (kind, visit))
    return Launches(tuple(calls), tuple(scratch))


def _launch(name: str, node: tvm.ir.Call, places: Mapping[Any, int]) -> Launch:
    """One call of a kernel: its name, buffers, then one number per launch parameter."""
    parameters = [str(p) for p in node.attrs.launch_params]
    count = len(node.args) - len(parameters)
    sizes = {"block": [1, 1, 1], "thread": [1, 1, 1]}
    shared = 0
    for parameter, value in zip(parameters, node.args[count:], strict=True):
        if not isinstance(value, tirx.IntImm):
            raise UnsupportedError(f"[cuda] sizes of {name} must be known when it is built")
        if parameter == _DYNAMIC_SHARED:
            shared = int(value)
        else:
            kind, axis = _AXES[parameter]
            sizes[kind][axis] = int(value)
    return Launch(
        kernel=str(node.args[0].value),
        grid=(sizes["block"][0], sizes["block"][1], sizes["block"][2]),
        block=(sizes["thread"][0], sizes["thread"][1], sizes["thread"][2]),
        arguments=tuple(places[_base(arg)] for arg in node.args[1:count]),
        shared=shared,
    )


def _base(pointer: Any) -> Any:
    """The buffer or pointer variable whose memory ``pointer`` is."""
    return pointer.args[0] if isinstance(pointer, tvm.ir.Call) else pointer
