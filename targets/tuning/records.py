"""A folder with tuning records of TVM's MetaSchedule: what it has for a function and a target.

The folder holds the two files of ``tvm.s_tir.meta_schedule.database.JSONDatabase``, whoever wrote
them. A record belongs to a target if its CPU and architecture are the target's.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import tvm
from tvm import tirx
from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord, Workload

from millijoule.cpu import architecture_of
from millijoule.errors import UsageError
from millijoule.files import require_regular
from millijoule.targets.target import Target
from millijoule.targets.tuning.intrinsics import load_cpu_intrinsics

WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"
_KEPT = ("tirx.noalias", "s_tir")  # attributes that are part of what a function computes


def workload_of(func: tirx.PrimFunc) -> tvm.IRModule:
    """``func`` as a database knows it: called "main", without notes of passes."""
    for key in list(func.attrs.keys()) if func.attrs else ():
        if key not in _KEPT:
            func = func.without_attr(key)
    named = func.with_attr("global_symbol", "main").with_attr("tirx.noalias", True)
    return tvm.IRModule({"main": named})


def digest_of(record: TuningRecord) -> str:
    """SHA-256 of a record: its trace, times, target and arguments, as JSON."""
    text = json.dumps(record.as_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_folder(folder: str | os.PathLike[str]) -> None:
    """UsageError unless ``folder`` holds both files of a database."""
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(
            f"[tuning] the database must be a folder, but {path} is none; `mj tune` makes one"
        )
    for name in (WORKLOADS, RECORDS):
        try:
            require_regular(path / name)
        except UsageError as error:
            raise UsageError(
                f"[tuning] {error}; a database of MetaSchedule has the files {WORKLOADS} and"
                f" {RECORDS}"
            ) from None


class TuningRecords:
    """The records in ``folder``, which is only read.

    Raises UsageError if the folder or its files are missing, or hold anything else.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        check_folder(folder)
        self.folder = Path(folder)
        self._check_lines()
        self._load_instructions()
        try:
            self._database = JSONDatabase(work_dir=str(self.folder), allow_missing=False)
            self.all: list[TuningRecord] = list(self._database.get_all_tuning_records())
        except Exception as error:  # TVM raises many kinds
            raise self._invalid(
                "TVM cannot read it, because a record does not apply to its workload or another"
                f" version wrote it ({last_line(error)})"
            ) from error

    def best(self, func: tirx.PrimFunc, target: Target) -> TuningRecord | None:
        """The fastest record of ``func`` for ``target`` that has a time; None if there is none."""
        return best_of(self.candidates(workload_of(func)), target)

    def candidates(self, module: tvm.IRModule) -> list[TuningRecord]:
        """All records of a workload that have a time."""
        if not self._database.has_workload(module):  # asking for it would add it to the file
            return []
        workload: Workload = self._database.commit_workload(module)
        return list(self._database.get_top_k(workload, max(len(self.all), 1)))

    def _load_instructions(self) -> None:
        """Make TVM know instructions that records put in, which takes a second."""
        if '"Tensorize"' in (self.folder / RECORDS).read_text(encoding="utf-8"):
            load_cpu_intrinsics()

    def _check_lines(self) -> None:
        """Both files are lines of JSON, and every record names a workload that is there."""
        workloads = self._lines(WORKLOADS)
        for number, line in enumerate(self._lines(RECORDS), 1):
            whole = isinstance(line, list) and len(line) == 2 and isinstance(line[0], int)
            if not whole or not 0 <= line[0] < len(workloads):
                raise self._invalid(f"line {number} of {RECORDS} is no record of a workload")

    def _lines(self, name: str) -> list[Any]:
        try:
            lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise self._invalid(f"{name}: {error}") from error

    def _invalid(self, reason: str) -> UsageError:
        return UsageError(
            f"[tuning] {self.folder} must hold a database of MetaSchedule, but {reason}; `mj tune`"
            " makes one"
        )


def last_line(error: Exception) -> str:
    """The last line of TVM's message: those before it are a trace of its calls."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


def best_of(records: list[TuningRecord], target: Target) -> TuningRecord | None:
    """The fastest of ``records`` that belongs to ``target``."""
    timed = [(seconds_of(r), i) for i, r in enumerate(records) if belongs(r, target)]
    known = [pair for pair in timed if math.isfinite(pair[0])]
    return records[min(known)[1]] if known else None


def seconds_of(record: TuningRecord) -> float:
    """The mean of the times that whoever tuned measured; infinite if there is none."""
    times = [float(t) for t in record.run_secs or ()]
    return sum(times) / len(times) if times else math.inf


def belongs(record: TuningRecord, target: Target) -> bool:
    """Whether ``record`` was made for the CPU of ``target``."""
    made_for = record.target
    if made_for is None or str(made_for.kind.name) != "llvm":
        return False
    cpu, triple = (str(made_for.attrs.get(key, "")) for key in ("mcpu", "mtriple"))
    return cpu == target.cpu and architecture_of(triple) == architecture_of(target.triple)
