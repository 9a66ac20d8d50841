"""`Model` → bundle with a static library for bare metal, or C sources for a vendor's compiler."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

from millijoule.bundle import (
    SAMPLE_INPUTS,
    SAMPLE_OUTPUTS,
    Bundle,
    Firmware,
    Limits,
    npz_bytes,
    write_bundle,
)
from millijoule.converters.model import Model
from millijoule.targets.compilers import version
from millijoule.targets.cpu.codegen import Signature, generate_entry, memory_of
from millijoule.targets.cpu.describe import WEIGHTS, describe
from millijoule.targets.cpu.lower import compile_object
from millijoule.targets.cpu.plan import make_plan
from millijoule.targets.mcu.cores import FLAGS, find_bare_metal_compiler
from millijoule.targets.mcu.footprint import measure
from millijoule.targets.mcu.header import linker_budget, model_header, weights_source
from millijoule.targets.mcu.library import archive, definitions, strip_kernels
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.target import Target

LIBRARY = "program/libmodel.a"


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

    Raises:
        UnsupportedError: the program needs more than ``limits``; nothing is written.
        DeviceError: the cross compiler is missing or failed.
    """
    cc = find_bare_metal_compiler(target)  # none: said before minutes of work, not after
    progress("lowering")
    plan = make_plan(lower_for_cpu(model.module, target, model.layers), target.alignment)
    signature = Signature(model.inputs, model.outputs, model.states)
    with tempfile.TemporaryDirectory(prefix="millijoule-") as name:
        folder = Path(name)
        progress(f"compiling {len(plan.kernels)} kernels")
        workspace = compile_object(plan.kernels, target, folder / "kernels.o")
        strip_kernels(folder / "kernels.o", cc)
        memory = memory_of(plan, signature, workspace)
        entry = folder / "entry.c"
        delay = model.streaming.delay if model.streaming else 0
        entry.write_text(generate_entry(model.name, plan, signature, memory, delay))
        manifest = describe(model, target, plan, memory, LIBRARY, 1, cc)
        tensors = max(len(model.inputs), len(model.outputs)) + len(model.states)
        macros = definitions(target.alignment, tensors)
        library = archive([folder / "kernels.o"], [entry], folder / "libmodel.a", cc, macros)
        texts = {
            "model.h": model_header(manifest, len(plan.weights)),
            "weights.S": weights_source(target.alignment),
        }
        for member, text in texts.items():
            (folder / member).write_text(text)
        (folder / "weights.bin").write_bytes(plan.weights)
        progress("linking")
        flash, ram = measure(folder, library, manifest.inputs, manifest.outputs, cc)
        firmware = Firmware(FLAGS[target.cpu], flash, ram, limits, emit, version(cc))
        manifest = dataclasses.replace(manifest, firmware=firmware)
        texts["memory.ld"] = linker_budget(manifest, limits)
        progress("writing")
        files: dict[str, bytes | Path] = {
            LIBRARY: library,
            WEIGHTS: bytes(plan.weights),
            **{f"program/{member}": text.encode() for member, text in texts.items()},
            SAMPLE_INPUTS: npz_bytes(model.sample_inputs),
            SAMPLE_OUTPUTS: npz_bytes(model.sample_outputs),
        }
        write_bundle(out, manifest, files)
    return Bundle.open(out)
