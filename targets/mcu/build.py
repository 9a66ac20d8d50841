"""`Model` → bundle with a static library for bare metal, or C sources for a vendor's compiler."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from millijoule.bundle import (
    SAMPLE_INPUTS,
    SAMPLE_OUTPUTS,
    Bundle,
    Firmware,
    Limits,
    Manifest,
    npz_bytes,
    write_bundle,
)
from millijoule.converters.model import Model
from millijoule.targets.compilers import Toolchain, version
from millijoule.targets.cpu.codegen import Memory, Signature, generate_entry, memory_of
from millijoule.targets.cpu.describe import describe
from millijoule.targets.cpu.lower import compile_object
from millijoule.targets.cpu.plan import Plan, make_plan
from millijoule.targets.mcu.budget import check_budget
from millijoule.targets.mcu.cores import FLAGS, find_bare_metal_compiler
from millijoule.targets.mcu.csource import kernels_to_c
from millijoule.targets.mcu.footprint import measure
from millijoule.targets.mcu.frontend import frontend_source
from millijoule.targets.mcu.header import linker_budget, model_header, weights_source
from millijoule.targets.mcu.library import archive, clean_kernels, standalone
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.target import SCALAR, Target
from millijoule.targets.toolchain import runtime_include, runtime_sources

LIBRARY, C_KERNELS = "program/libmodel.a", "program/src/kernels.c"


def build_mcu(
    model: Model,
    target: Target,
    out: Path,
    *,
    emit: str,
    limits: Limits,
    progress: Callable[[str], None],
) -> Bundle:
    """Compile ``model`` for ``target`` and write the bundle ``out`` atomically.

    Args:
        emit: "object" for ``libmodel.a``, "c" for C sources.
        limits: flash and RAM of the part; a program that needs more is refused.

    Raises:
        UnsupportedError: the program needs more than ``limits``, or has no form in C.
        DeviceError: the cross compiler is missing or failed.
    """
    cc = find_bare_metal_compiler(target)  # none: said before minutes of work, not after
    progress("lowering")
    if emit == "c":
        target = dataclasses.replace(target, isa=SCALAR)  # C names no instruction
    plan = make_plan(lower_for_cpu(model.module, target, model.layers), target.alignment)
    with tempfile.TemporaryDirectory(prefix="millijoule-") as name:
        program = Path(name) / "program"  # becomes the members of that folder
        program.mkdir()
        progress(f"compiling {len(plan.kernels)} kernels")
        member, compile_ = (C_KERNELS, _compile_c) if emit == "c" else (LIBRARY, _compile_object)
        library, memory = compile_(model, target, plan, program, cc)
        manifest = describe(model, target, plan, memory, member, 1, cc)
        _write_texts(program, manifest, bytes(plan.weights))
        progress("linking")
        flash, ram = measure(program, library, manifest.inputs, manifest.outputs, cc)
        firmware = Firmware(FLAGS[target.cpu], flash, ram, limits, emit, version(cc))
        manifest = dataclasses.replace(manifest, firmware=firmware)
        check_budget(manifest)
        (program / "memory.ld").write_text(linker_budget(firmware))
        progress("writing")
        write_bundle(out, manifest, _members(program, model))
    return Bundle.open(out)


def _compile_object(
    model: Model, target: Target, plan: Plan, program: Path, cc: Toolchain
) -> tuple[Path, Memory]:
    """``libmodel.a`` in ``program``: kernels by LLVM, entry and runtime by ``cc``."""
    kernels, entry = program.parent / "kernels.o", program.parent / "entry.c"
    workspace = compile_object(plan.kernels, target, kernels)
    clean_kernels(kernels, cc, target.float_abi == "hard")
    memory = memory_of(plan, _signature(model), workspace)
    entry.write_text(_entry(model, plan, memory))
    shutil.copy(runtime_include() / "millijoule.h", program)
    flags = [f"-D{name}={value}" for name, value in _definitions(model, target).items()]
    sources = [entry, *runtime_sources()]
    return archive([kernels], sources, program / "libmodel.a", cc, flags), memory


def _compile_c(
    model: Model, target: Target, plan: Plan, program: Path, cc: Toolchain
) -> tuple[Path, Memory]:
    """C sources in ``program/src``, and for measuring a library of them outside ``program``."""
    code = kernels_to_c(plan.kernels, target)
    memory = memory_of(plan, _signature(model), code.workspace)
    generated = {
        "kernels.h": code.header,
        "kernels.c": code.source,
        "entry.c": _entry(model, plan, memory, "kernels.h"),
    }
    folder = program / "src"
    folder.mkdir()
    for name, text in standalone(generated, _definitions(model, target)).items():
        (folder / name).write_text(text)
    library = program.parent / "libmodel.a"
    return archive([], sorted(folder.glob("*.c")), library, cc, [f"-I{folder}"]), memory


def _signature(model: Model) -> Signature:
    return Signature(model.inputs, model.outputs, model.states)


def _entry(model: Model, plan: Plan, memory: Memory, kernels_header: str | None = None) -> str:
    delay = model.streaming.delay if model.streaming else 0
    return generate_entry(model.name, plan, _signature(model), memory, delay, kernels_header)


def _definitions(model: Model, target: Target) -> dict[str, str]:
    """Macros that every C file of the model is compiled with."""
    tensors = max(len(model.inputs), len(model.outputs)) + len(model.states)
    return {
        "MJ_BARE_METAL": "1",
        "MJ_ALIGNMENT": f"{target.alignment}u",
        "MJ_MAX_TENSORS": f"{tensors}u",  # pointers on the stack: no more than there are
    }


def _write_texts(program: Path, manifest: Manifest, weights: bytes) -> None:
    """Everything in ``program`` that is neither compiled nor known only after linking."""
    texts = {
        "model.h": model_header(manifest, len(weights)),
        "weights.S": weights_source(manifest.arena.alignment),
    }
    frontend = manifest.model.frontend
    if frontend is not None and frontend["kind"] == "log-mel":
        texts |= frontend_source(frontend)
    for name, text in texts.items():
        (program / name).write_text(text)
    (program / "weights.bin").write_bytes(weights)


def _members(program: Path, model: Model) -> dict[str, bytes | Path]:
    """Members of the bundle by name."""
    files: dict[str, bytes | Path] = {
        SAMPLE_INPUTS: npz_bytes(model.sample_inputs),
        SAMPLE_OUTPUTS: npz_bytes(model.sample_outputs),
        **model.files,
    }
    for path in program.rglob("*"):
        if path.is_file():
            files[path.relative_to(program.parent).as_posix()] = path
    return files
