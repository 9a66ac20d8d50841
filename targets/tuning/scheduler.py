"""A tuning record → the scheduled function, if the code generator takes it.

What MetaSchedule makes of a function passes it as kernels of ours do: parallel loops are launches
on the thread pool, vectors are LLVM's, scratch buffers of 1024 bytes and more become workspace,
which is part of the memory plan. One thing does not: workspace inside of a parallel loop, for only
the calling thread has any. Such a record, and any other that does not compile, is refused with the
reason.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.database import TuningRecord

from millijoule.converters.importer import tensor_type
from millijoule.targets.cpu.lower import compile_kernels
from millijoule.targets.cpu.plan import KernelCall
from millijoule.targets.passes.schedule import Scheduled
from millijoule.targets.passes.schedule.stages import Sizes
from millijoule.targets.passes.sizes import is_buffer, size_variables
from millijoule.targets.target import Target
from millijoule.targets.tuning.records import (
    TuningRecords,
    digest_of,
    last_line,
    workload_of,
)

# what the C runtime has of TVM's (mj_backend.h)
_SYMBOLS = {f"TVMBackend{n}" for n in ("AllocWorkspace", "FreeWorkspace")} | {
    f"TVMBackendParallel{n}" for n in ("Launch", "Barrier")
}


class RefusedError(Exception):
    """A record that cannot be used; the text says why."""


class TunedScheduler:
    """Schedules functions by the records of a database, and keeps account of it.

    ``refused``: functions whose record could not be used, with the reason.
    """

    def __init__(self, records: TuningRecords, target: Target) -> None:
        self._records, self._target = records, target
        self.refused: dict[str, str] = {}

    def __call__(self, name: str, func: tirx.PrimFunc, sizes: Sizes) -> Scheduled | None:
        """``func``, called ``name``, by its best record; None if it has none that can be used."""
        if not fixed(func, sizes):
            return None
        record = self._records.best(func, self._target)
        if record is None:
            return None
        digest = digest_of(record)
        try:
            return Scheduled(apply(record, func, self._target), record=digest)
        except RefusedError as error:
            self.refused[name] = str(error)
            return None

    def provenance(self, calls: Iterable[KernelCall]) -> dict[str, Any]:
        """What the manifest says: which kernel has the schedule of which record.

        ``sha256`` is that of all digests of records used, sorted, one a line.
        """
        used = {call.symbol: call.meta.tuned for call in calls if call.meta.tuned}
        lines = "".join(f"{digest}\n" for digest in sorted(set(used.values())))
        whole = hashlib.sha256(lines.encode()).hexdigest()
        return {"sha256": whole, "kernels": used, "refused": dict(self.refused)}


def fixed(func: tirx.PrimFunc, sizes: Sizes) -> bool:
    """Whether every size in ``func`` is a number: others cannot be tuned."""
    return not sizes and not size_variables(func) and all(map(is_buffer, func.params))


def apply(record: TuningRecord, func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """``func`` as ``record`` schedules it, compiled once for ``target`` to see that it can be.

    Raises RefusedError.
    """
    try:
        schedule = Schedule(workload_of(func), error_render_level="none")
        record.trace.apply_to_schedule(schedule, remove_postproc=False)
        made = schedule.mod["main"].without_attr("global_symbol")
    except Exception as error:  # a trace of another function, or of another TVM
        raise RefusedError(f"its trace does not apply: {last_line(error)}") from error
    if not _same_parameters(made, func):
        raise RefusedError("it changes the layout of parameters")
    _check_compiles(made, target)
    return made


def _same_parameters(one: tirx.PrimFunc, other: tirx.PrimFunc) -> bool:
    return len(one.params) == len(other.params) and all(
        is_buffer(a) and tensor_type(a) == tensor_type(b)
        for a, b in zip(one.params, other.params, strict=True)
    )


def _check_compiles(func: tirx.PrimFunc, target: Target) -> None:
    try:
        library, _ = compile_kernels({"kernel": func}, target, target.tvm())
        text = str(library.inspect_source("ll"))
    except Exception as error:
        raise RefusedError(f"it does not compile: {last_line(error)}") from error
    missing = set(re.findall(r"@__(TVM\w+)", text)) - _SYMBOLS
    if missing:
        raise RefusedError(f"it needs {', '.join(sorted(missing))}, which the runtime has not")
