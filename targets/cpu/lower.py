"""TIR kernels → one object file with a plain C ABI and no TVM runtime.

``MakePackedAPI`` is replaced by `plain_c_abi`: ``int32_t kernel(void *buffer0, …)``, zero on
success. Large scratch buffers become calls of ``TVMBackendAllocWorkspace``, which the C runtime
serves from the arena; `workspace_bytes` says beforehand how much they need.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.tirx.buffer import BufferType
from tvm_ffi import structural_map, structural_walk

from millijoule.errors import UnsupportedError
from millijoule.sizes import MAX_SIZE
from millijoule.targets.cpu.plan import align
from millijoule.targets.target import Target

PIPELINE_NAME = "millijoule_plain_c"
_UNBOUNDED = 1 << 40  # bytes
C_ABI = 1  # any calling_conv other than 0 makes MakePackedAPI leave a function alone


def _plain_c(func: tirx.PrimFunc) -> tirx.PrimFunc:
    params, declarations = [], []
    for param in func.params:
        if isinstance(param.ty, BufferType):
            dtype = param.ty.dtype
            element = dtype if isinstance(dtype, tvm.ir.Type) else tvm.ir.PrimType(dtype)
            pointer = tirx.Var(f"{param.name}_p", tvm.ir.PointerType(element, "global"))
            params.append(pointer)
            declarations.append(tirx.DeclBuffer(param, data=pointer))
        else:
            params.append(param)
    body = tirx.SeqStmt([*declarations, func.body])
    for key, value in (("device_type", 1), ("device_id", 0)):
        body = tirx.AttrStmt("default", key, tirx.IntImm("int32", value), body)
    # the return stays outside the device scope, or workspace frees become dead code
    body = tirx.SeqStmt([body, tirx.Return(tirx.IntImm("int32", 0))])
    plain = tirx.PrimFunc(params, body, tvm.ir.PrimType("int32"), func.attrs)
    return plain.with_attr("calling_conv", C_ABI)


@tvm.transform.module_pass(opt_level=0)
def plain_c_abi(mod: tvm.IRModule, _: Any) -> tvm.IRModule:
    """Give every kernel parameters that are bare pointers and a result of zero."""
    functions = {
        gv: _plain_c(f) if isinstance(f, tirx.PrimFunc) and "global_symbol" in f.attrs else f
        for gv, f in mod.functions.items()
    }
    return tvm.IRModule(functions, attrs=mod.attrs)


class _WorkspaceRecorder:
    """Adds up, per function, the workspace that lowered code asks for; keeps the largest sum.

    Workspace is asked for one after another, by constant sizes or by sizes with a constant bound,
    so the sum of these is an upper bound of what is held at once.
    """

    active: _WorkspaceRecorder | None = None

    def __init__(self, alignment: int) -> None:
        self.bytes, self.hungriest = 0, ""
        self.shared = ""
        self._alignment = alignment

    def __enter__(self) -> None:
        _WorkspaceRecorder.active = self

    def __exit__(self, *_: object) -> None:
        _WorkspaceRecorder.active = None

    def record(self, func: tirx.PrimFunc) -> None:
        """Note the requests of one function."""
        sizes: list[int] = []
        analyzer = tvm.sym.Analyzer()
        for param in func.params:
            if isinstance(param.ty, tvm.ir.PrimType):  # a size
                analyzer.bind(param, tvm.ir.Range(0, MAX_SIZE))

        def bind(node: tirx.Bind) -> None:
            if str(node.var.ty.dtype).startswith("int"):
                analyzer.bind(node.var, node.value)

        def visit(call: tvm.ir.Call) -> None:
            if getattr(call.op, "name", "").endswith("TVMBackendAllocWorkspace"):
                largest = analyzer.const_int_bound(call.args[2]).max_value
                sizes.append(align(int(largest), self._alignment))

        structural_walk(func.body, (tirx.Bind, bind))
        structural_walk(func.body, (tvm.ir.Call, visit))
        if sizes and _in_threads(func):
            self.shared = str(func.attrs["global_symbol"])
        if sum(sizes) > self.bytes:
            self.bytes, self.hungriest = sum(sizes), str(func.attrs["global_symbol"])


def _in_threads(func: tirx.PrimFunc) -> bool:
    """Whether ``func`` asks for workspace inside of a parallel loop."""
    found: list[Any] = []

    def visit(call: tvm.ir.Call) -> None:
        if getattr(call.op, "name", "").endswith("TVMBackendAllocWorkspace"):
            found.append(call)

    def enter(loop: tirx.For) -> None:
        if loop.kind == tirx.ForKind.PARALLEL:
            structural_walk(loop.body, (tvm.ir.Call, visit))

    structural_walk(func.body, (tirx.For, enter))
    return bool(found)


@tvm.transform.module_pass(opt_level=0)
def _record_workspace(mod: tvm.IRModule, _: Any) -> tvm.IRModule:
    if _WorkspaceRecorder.active is not None:
        for func in mod.functions.values():
            if isinstance(func, tirx.PrimFunc):
                _WorkspaceRecorder.active.record(func)
    return mod


def _finalize_host() -> Any:
    return tvm.ir.transform.Sequential(
        [tirx.transform.LowerTVMBuiltin(), _record_workspace, tirx.transform.LowerIntrin()]
    )


def _pipeline() -> tuple[Any, Any, Any]:
    """The CPU part of TVM's s_tir pipeline, with the packed calling convention left out."""
    passes = [
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(True),
        tirx.transform.StorageRewrite(),
        s_tir.transform.HoistIfThenElse(),
        tirx.transform.UnrollLoop(),
        s_tir.transform.RenormalizeSplitPattern(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
        tirx.transform.CommonSubexprElim(),
        tirx.transform.VerifyMemory(),
        plain_c_abi,
    ]

    @tvm.transform.module_pass(opt_level=0)
    def run(mod: tvm.IRModule, _: Any) -> tvm.IRModule:
        return tvm.ir.transform.Sequential(passes)(mod)

    return run, _finalize_host, s_tir.pipeline.finalize_device_passes


tirx.compilation_pipeline.register_tir_pipeline(PIPELINE_NAME, _pipeline)


def compile_object(kernels: Mapping[str, tirx.PrimFunc], target: Target, path: Path) -> int:
    """Compile ``kernels`` (C symbol → function) to the object file ``path``.

    Returns how many bytes of workspace the hungriest kernel asks for.
    """
    library, workspace = compile_kernels(kernels, target, target.tvm())
    library.write_to_file(str(path), "o")
    return workspace


def compile_kernels(
    kernels: Mapping[str, tirx.PrimFunc], target: Target, backend: Any
) -> tuple[Any, int]:
    """``kernels`` (C symbol → function) compiled by the TVM target ``backend``.

    Returns TVM's module, and how many bytes of workspace the hungriest kernel asks for;
    UnsupportedError if that has no bound, or is asked for in a parallel loop: only the thread that
    calls a kernel has any.
    """
    functions = {name: f.with_attr("global_symbol", name) for name, f in kernels.items()}
    if target.bare_metal:
        functions = {name: _serial(f) for name, f in functions.items()}
    recorder = _WorkspaceRecorder(target.alignment)
    with recorder:
        library = tirx.build(tvm.IRModule(functions), target=backend, pipeline=PIPELINE_NAME)
    if recorder.bytes >= _UNBOUNDED:
        raise UnsupportedError(
            f"[dynamic] kernel {recorder.hungriest} needs scratch memory for which there is no "
            "bound; build for fixed sizes"
        )
    if recorder.shared:
        raise UnsupportedError(
            f"[plan] kernel {recorder.shared} needs scratch memory inside of a parallel loop; list "
            "it in its KernelForm"
        )
    return library, recorder.bytes


def _serial(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` for a single core: parallel loops become plain ones."""

    def rewrite(loop: tirx.For) -> tirx.For:
        if loop.kind != tirx.ForKind.PARALLEL:
            return loop
        return tirx.For(
            loop.loop_var,
            loop.min,
            loop.extent,
            tirx.ForKind.SERIAL,
            loop.body,
            loop.thread_binding,
            loop.annotations,
        )

    return structural_map(func, (tirx.For, rewrite))
