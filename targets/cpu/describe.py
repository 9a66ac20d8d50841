"""A compiled `Model` → the manifest of its bundle, for every kind of program."""

from __future__ import annotations

from millijoule.bundle import (
    Arena,
    Manifest,
    ModelInfo,
    Program,
    StateSpec,
    Streaming,
    TensorSpec,
)
from millijoule.bundle import Target as TargetInfo
from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.targets import versions
from millijoule.targets.compilers import Toolchain
from millijoule.targets.cpu.codegen import Memory
from millijoule.targets.cpu.manifest import describe_kernels
from millijoule.targets.cpu.plan import Plan
from millijoule.targets.target import Target

WEIGHTS = "program/weights.bin"
ABI_VERSION = 1  # MJ_ABI_VERSION of millijoule.h


def describe(
    model: Model,
    target: Target,
    plan: Plan,
    memory: Memory,
    library: str,
    threads: int,
    cc: Toolchain,
) -> Manifest:
    """The manifest of ``model`` as compiled by ``cc``; ``library``: the member with the program."""
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
            dtype="int8" if model.quantization else "float32",
            threads=threads,
        ),
        inputs=tuple(_spec(name, t, batch, shared=name == valid_input) for name, t in model.inputs),
        outputs=tuple(_spec(name, t, batch) for name, t in model.outputs),
        program=Program(target.kind, library, WEIGHTS, ABI_VERSION),
        arena=Arena(
            memory.total, memory.planned, memory.workspace, memory.states, memory.alignment
        ),
        kernels=describe_kernels(plan, batch, model.aliases),
        streaming=streaming,
        quantization=dict(model.quantization) if model.quantization else None,
        toolchain=versions.toolchain(cc),
        tolerance=dict(model.tolerance),
    )


def _spec(name: str, t: TensorType, batch: int, *, shared: bool = False) -> TensorSpec:
    """Rows of the first axis are samples if there are as many as the batch has."""
    by_sample = not shared and t.shape[:1] == (batch,)
    return TensorSpec(name, t.shape, t.dtype, batch_axis=0 if by_sample else None)
