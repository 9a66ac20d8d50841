"""Static AOT for CPUs with an operating system: `Model` → bundle with ``libmodel.so``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from millijoule.bundle import (
    SAMPLE_INPUTS,
    SAMPLE_OUTPUTS,
    Arena,
    Bundle,
    Manifest,
    ModelInfo,
    Program,
    StateSpec,
    Streaming,
    TensorSpec,
    npz_bytes,
    write_bundle,
)
from millijoule.bundle import Target as TargetInfo
from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.targets import toolchain, versions
from millijoule.targets.cpu.codegen import Memory, Signature, generate_entry, memory_of
from millijoule.targets.cpu.lower import compile_object
from millijoule.targets.cpu.manifest import describe_kernels
from millijoule.targets.cpu.plan import Plan, make_plan
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.target import Target

LIBRARY, WEIGHTS = "program/libmodel.so", "program/weights.bin"
ABI_VERSION = 1  # MJ_ABI_VERSION of millijoule.h


def build_cpu(
    model: Model, target: Target, out: Path, threads: int, progress: Callable[[str], None]
) -> Bundle:
    """Compile ``model`` for ``target`` and write the bundle ``out`` atomically."""
    cc = toolchain.find_compiler(target)  # no compiler: said before minutes of work, not after
    progress("lowering")
    plan = make_plan(lower_for_cpu(model.module, target, model.layers))
    signature = Signature(model.inputs, model.outputs, model.states)
    with tempfile.TemporaryDirectory(prefix="millijoule-") as scratch:
        folder = Path(scratch)
        progress(f"compiling {len(plan.kernels)} kernels")
        workspace = compile_object(plan.kernels, target, folder / "kernels.o")
        memory = memory_of(plan, signature, workspace)
        entry = folder / "entry.c"
        delay = model.streaming.delay if model.streaming else 0
        entry.write_text(generate_entry(model.name, plan, signature, memory, delay))
        progress("linking")
        library = toolchain.link_shared(
            [folder / "kernels.o"],
            [entry, *toolchain.runtime_sources()],
            [toolchain.runtime_include()],
            folder / "libmodel.so",
            cc,
        )
        progress("writing")
        files: dict[str, bytes | Path] = {
            LIBRARY: library,
            WEIGHTS: bytes(plan.weights),
            SAMPLE_INPUTS: npz_bytes(model.sample_inputs),
            SAMPLE_OUTPUTS: npz_bytes(model.sample_outputs),
        }
        write_bundle(out, _manifest(model, target, plan, memory, threads, cc), files)
    return Bundle.open(out)


def _manifest(
    model: Model,
    target: Target,
    plan: Plan,
    memory: Memory,
    threads: int,
    cc: toolchain.Toolchain,
) -> Manifest:
    streaming, valid_input = None, None
    first = model.inputs[0][1].shape
    batch = first[0] if first else 1
    if model.streaming is not None:
        valid_input = model.inputs[1][0]
        streaming = Streaming(
            delay=model.streaming.delay,
            states=tuple(StateSpec(name, t.shape, t.dtype) for name, t in model.states),
            sequence_input=model.inputs[0][0],
            valid_input=valid_input,
            limit=None,
            final_output=model.outputs[0][0],
        )
    return Manifest(
        model=ModelInfo(
            name=model.name,
            family=model.family,
            variant=model.variant,
            hparams=dict(model.hparams),
            parameters=model.parameters,
            source=model.source,
            ignored_keys=tuple(model.ignored_keys),
            labels=tuple(model.labels) if model.labels else None,
            frontend=dict(model.frontend) if model.frontend else None,
            reference_macs=dict(model.reference_macs),
        ),
        target=TargetInfo(
            name=target.name,
            kind=target.kind,
            triple=target.triple,
            cpu=target.cpu,
            features=target.features(),
            dtype="float32",
            threads=threads,
        ),
        inputs=tuple(_spec(name, t, batch, shared=name == valid_input) for name, t in model.inputs),
        outputs=tuple(_spec(name, t, batch) for name, t in model.outputs),
        program=Program(target.kind, LIBRARY, WEIGHTS, ABI_VERSION),
        arena=Arena(memory.total, memory.planned, memory.workspace, memory.states),
        kernels=describe_kernels(plan, batch),
        streaming=streaming,
        toolchain=versions.toolchain(cc),
        tolerance=dict(model.tolerance),
    )


def _spec(name: str, t: TensorType, batch: int, *, shared: bool = False) -> TensorSpec:
    """Rows of the first axis are samples if there are as many as the batch has."""
    by_sample = not shared and t.shape[:1] == (batch,)
    return TensorSpec(name, t.shape, t.dtype, batch_axis=0 if by_sample else None)
