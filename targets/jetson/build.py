"""`Model` → bundle for a Jetson: ``libmodel.so`` with code for its GPU, and the CUDA source."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from millijoule.bundle import (
    CUDA_ENTRY,
    CUDA_SOURCE,
    SAMPLE_INPUTS,
    SAMPLE_OUTPUTS,
    Bundle,
    npz_bytes,
    write_bundle,
)
from millijoule.converters.model import Model
from millijoule.targets import toolchain
from millijoule.targets.cpu.build import LIBRARY
from millijoule.targets.cpu.codegen import Signature, memory_of
from millijoule.targets.cpu.describe import WEIGHTS
from millijoule.targets.cpu.plan import make_plan
from millijoule.targets.jetson.cuda import cuda_source, cuda_target
from millijoule.targets.jetson.describe import describe_cuda
from millijoule.targets.jetson.nvrtc import Cubin, compile_cubin
from millijoule.targets.jetson.pipeline import lower_for_cuda
from millijoule.targets.jetson.regions import plan_split
from millijoule.targets.jetson.split import split_for_tensorrt
from millijoule.targets.jetson.table import generate_table, images_source, scratch_bytes
from millijoule.targets.target import Target

# glibc before 2.34 keeps dlopen in a library of its own
_LINK = ("-Wl,--as-needed", "-ldl")


def build_jetson(
    model: Model,
    target: Target,
    out: Path,
    progress: Callable[[str], None],
    *,
    split: str | None = None,
) -> Bundle:
    """Compile ``model`` for ``target`` and write the bundle ``out`` atomically.

    ``split``: a runtime of `RUNTIMES` that dense regions are written for besides.
    """
    parts = split_for_tensorrt(model) if split else None
    cc = toolchain.find_compiler(target)  # no compiler: said before minutes of work, not after
    progress("lowering")
    cut = plan_split(model, target, parts) if parts else None
    if cut:
        plan = cut.plan
    else:
        plan = make_plan(lower_for_cuda(model.module, target, model.layers), target.alignment)
    progress(f"writing CUDA for {len(plan.kernels)} kernels")
    source = cuda_source(plan.kernels, cuda_target(target.sm))
    progress(f"compiling {len(plan.kernels)} kernels")
    cubin = compile_cubin(source.code, target.sm)
    signature = Signature(model.inputs, model.outputs, model.states)
    memory = memory_of(plan, signature, scratch_bytes(source.functions, target.alignment))
    delay = model.streaming.delay if model.streaming else 0
    bounds = cut.bounds if cut else ()
    entry = generate_table(model.name, plan, source.functions, signature, memory, delay, 1, bounds)
    progress("linking")
    with tempfile.TemporaryDirectory(prefix="millijoule-") as scratch:
        library = _link(Path(scratch), entry, cubin, cc)
        progress("writing")
        files: dict[str, bytes | Path] = {
            LIBRARY: library,
            WEIGHTS: bytes(plan.weights),
            CUDA_SOURCE: source.code.encode(),
            CUDA_ENTRY: entry.encode(),
            SAMPLE_INPUTS: npz_bytes(model.sample_inputs),
            SAMPLE_OUTPUTS: npz_bytes(model.sample_outputs),
            **(parts.files if parts else {}),
            **model.files,
        }
        manifest = describe_cuda(model, target, plan, memory, LIBRARY, cc, source, (cubin,))
        write_bundle(out, replace(manifest, split=cut.split if cut else None), files)
    return Bundle.open(out)


def _link(folder: Path, entry: str, cubin: Cubin, cc: toolchain.Toolchain) -> Path:
    """The tables, the machine code, the launcher and the runtime as one library."""
    code = f"kernels.sm_{cubin.sm}.cubin"
    (folder / code).write_bytes(cubin.code)
    (folder / "entry.c").write_text(entry)
    (folder / "images.c").write_text(images_source({cubin.sm: code}))
    return toolchain.link_shared(
        [],
        [
            folder / "entry.c",
            folder / "images.c",
            *toolchain.cuda_sources(),
            *toolchain.runtime_sources(),
        ],
        [
            toolchain.runtime_include(),
            toolchain.cuda_include(),
            toolchain.runtime_internal(),
            folder,
        ],
        folder / "libmodel.so",
        cc,
        _LINK,
    )
