"""Static AOT for CPUs with an operating system: `Model` → bundle with ``libmodel.so``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from millijoule.bundle import (
    SAMPLE_INPUTS,
    SAMPLE_OUTPUTS,
    Bundle,
    npz_bytes,
    sample_member,
    write_bundle,
)
from millijoule.converters.model import Model
from millijoule.targets import toolchain
from millijoule.targets.cpu.codegen import Signature, generate_entry, memory_of
from millijoule.targets.cpu.describe import WEIGHTS, describe
from millijoule.targets.cpu.lower import compile_object
from millijoule.targets.cpu.plan import make_plan
from millijoule.targets.graph.support import check_precision
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.target import Target

if TYPE_CHECKING:
    from millijoule.targets.tuning.scheduler import TunedScheduler

LIBRARY = "program/libmodel.so"


def more_samples(model: Model) -> dict[str, bytes]:
    """Members with samples of other sizes."""
    members = {}
    for number, sample in enumerate(model.more_samples, 1):
        members[sample_member(SAMPLE_INPUTS, number)] = npz_bytes(sample.inputs)
        members[sample_member(SAMPLE_OUTPUTS, number)] = npz_bytes(sample.outputs)
    return members


def build_cpu(
    model: Model,
    target: Target,
    out: Path,
    threads: int,
    progress: Callable[[str], None],
    *,
    naive: bool = False,
    half: bool = False,
    tuning_db: str | os.PathLike[str] | None = None,
) -> Bundle:
    """Compile ``model`` for ``target`` and write the bundle ``out`` atomically.

    Args:
        naive: without our kernels, each operator as its definition says (slow; a reference).
        half: weights and what lies between kernels in float16.
        tuning_db: a folder with tuning records, whose schedules are taken in front of the rules.

    Raises UnsupportedError if ``half`` would move spikes or signs, UsageError if ``tuning_db`` is
    no database.
    """
    if half:
        check_precision(model.module, "float16", target.name)
    cc = toolchain.find_compiler(target)  # no compiler: said before minutes of work, not after
    progress("lowering")
    tuned = _tuned(tuning_db, target)
    plan = make_plan(
        lower_for_cpu(model.module, target, model.layers, naive=naive, half=half, tuned=tuned),
        target.alignment,
    )
    tuning = None if tuned is None else tuned.provenance(plan.calls)
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
            **more_samples(model),
            **model.files,
        }
        manifest = describe(
            model, target, plan, memory, LIBRARY, threads, cc, half=half, tuning=tuning
        )
        write_bundle(out, manifest, files)
    return Bundle.open(out)


def _tuned(folder: str | os.PathLike[str] | None, target: Target) -> TunedScheduler | None:
    """The scheduler by the records in ``folder``; without one, MetaSchedule is not even loaded."""
    if folder is None:
        return None
    from millijoule.targets.tuning.records import TuningRecords
    from millijoule.targets.tuning.scheduler import TunedScheduler

    return TunedScheduler(TuningRecords(folder), target)
