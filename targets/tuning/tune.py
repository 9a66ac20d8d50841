"""Fill a database of tuning records for a model, with those that beat the schedules by rule.

The functions of the model that have no kernel of ours are collected, MetaSchedule searches for
each, and then two whole programs are built, by rule and by records, and their kernels timed in
turn. Only records whose kernels were faster there are kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tvm
from tvm import tirx
from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord
from tvm_ffi import structural_equal

from millijoule import load
from millijoule.bundle import Manifest
from millijoule.converters.model import Model
from millijoule.cpu import missing_features, same_architecture
from millijoule.errors import UsageError, VerificationError
from millijoule.files import atomic_write
from millijoule.targets import build, get_target
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.passes.schedule.stages import Sizes
from millijoule.targets.target import STATIC_AOT, Target
from millijoule.targets.tuning.measure import kernel_times
from millijoule.targets.tuning.records import (
    RECORDS,
    WORKLOADS,
    TuningRecords,
    belongs,
    digest_of,
    workload_of,
)
from millijoule.targets.tuning.scheduler import fixed
from millijoule.targets.tuning.search import check_packages, search
from millijoule.verification import verify

MARGIN = 0.02  # of the rule's time by which a record must be faster: what two runs may differ by

Progress = Callable[..., None]
# workload, target, folder of a database, trials, seed, progress → records in the folder
Search = Callable[[tvm.IRModule, Target, Path, int, int, Callable[[int], None]], None]


@dataclass(frozen=True)
class Tuned:
    """What became of one function.

    ``calls``: how often a run of the program calls it. ``rule_us``, ``tuned_us``: microseconds of
    all its calls together in one run, measured; None where there is no second program to compare.
    ``remark``: why there is none.
    """

    function: str
    calls: int
    rule_us: float | None
    tuned_us: float | None
    kept: bool
    remark: str = ""

    @property
    def speedup(self) -> float | None:
        """The rule's time over the record's."""
        if self.rule_us is None or not self.tuned_us:
            return None
        return self.rule_us / self.tuned_us

    @property
    def verdict(self) -> str:
        """What became of the record, in words."""
        return self.remark or ("kept" if self.kept else "not faster, dropped")


@dataclass(frozen=True)
class Function:
    """A function to tune, and the names of all that are equal to it."""

    workload: tvm.IRModule
    names: list[str]


def functions_of(model: Model, target: str = "host") -> list[Function]:
    """The functions of ``model`` that a record may schedule, as MetaSchedule takes them.

    These are what the rules would schedule: no kernels of ours, and fixed sizes only.
    """
    found: list[Function] = []

    def collect(name: str, func: tirx.PrimFunc, sizes: Sizes) -> None:
        if not fixed(func, sizes):
            return
        workload = workload_of(func)
        same = next((f for f in found if structural_equal(f.workload, workload)), None)
        if same is None:
            found.append(Function(workload, [name]))
        else:
            same.names.append(name)

    lower_for_cpu(model.module, get_target(target), model.layers, tuned=collect)
    return found


def check_tunable(target: str, folder: str | os.PathLike[str]) -> None:
    """UsageError or DeviceError unless programs of ``target`` can be tuned here."""
    chosen = get_target(target)
    if chosen.kind != STATIC_AOT:
        raise UsageError(
            f"[tune] target must be a CPU with an operating system, but is {target}; its programs"
            " have no schedules to tune"
        )
    if not same_architecture(chosen.triple) or missing_features(chosen.features(), chosen.cpu):
        raise UsageError(
            f"[tune] target {target} does not run on this machine, where schedules are timed; fill "
            "a database for it with TVM's own tools over RPC"
        )
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise UsageError(f"[tune] the database must be a folder, but {path} is a file")
    if (path / WORKLOADS).exists() or (path / RECORDS).exists():
        TuningRecords(path)
    elif not path.absolute().parent.is_dir():
        raise UsageError(f"[tune] cannot make the folder {path}: its parent does not exist")
    check_packages()


def tune(
    model: Model,
    target: str,
    folder: str | os.PathLike[str],
    *,
    trials: int = 64,
    seed: int = 1,
    progress: Progress = lambda *_: None,
    search_one: Search | None = None,
) -> list[Tuned]:
    """Search ``trials`` schedules of every function, and keep in ``folder`` those that are faster.

    Records that ``folder`` has for these functions compete, too; all others stay. ``model`` is in
    its final dtype. ``search_one``: what finds records; default MetaSchedule (`search`).

    Raises UsageError for a target that this machine cannot run, VerificationError if a tuned
    program gives other outputs; ``folder`` is then as it was.
    """
    check_tunable(target, folder)
    chosen = get_target(target)
    progress("lowering")
    functions = functions_of(model, target)
    if not functions:
        return []
    with tempfile.TemporaryDirectory(prefix="millijoule-tune-") as scratch:
        work = Path(scratch)
        candidates = work / "candidates"
        candidates.mkdir()
        old = _copy(folder, candidates)
        total = len(functions) * trials
        for number, function in enumerate(functions):
            what = f"tuning {function.names[0]} ({number + 1} of {len(functions)})"
            report = _reporter(progress, what, number * trials, total)
            report(0)
            (search_one or search)(function.workload, chosen, candidates, trials, seed, report)
        JSONDatabase(work_dir=str(candidates))  # makes the files where no trial was valid
        results, winners = _compare(model, target, work, functions, progress)
        _write(folder, work / "kept", _others(old, functions, chosen), winners)
    return results


def _reporter(progress: Progress, what: str, done: int, total: int) -> Callable[[int], None]:
    return lambda trials: progress(what, done + trials, total)


def _copy(folder: str | os.PathLike[str], to: Path) -> list[TuningRecord]:
    """The records in ``folder``, whose files are copied; none if there is no database."""
    if not (Path(folder) / WORKLOADS).exists():
        return []
    for name in (WORKLOADS, RECORDS):
        shutil.copyfile(Path(folder) / name, to / name)
    return TuningRecords(to).all


def _compare(
    model: Model, target: str, work: Path, functions: list[Function], progress: Progress
) -> tuple[list[Tuned], list[TuningRecord]]:
    """Time both programs; what became of every function, and the records that won."""
    candidates = work / "candidates"
    progress("building by rule")
    build(model, target, work / "rule.mjb", threads=1).close()
    progress("building by records")
    build(model, target, work / "tuned.mjb", threads=1, tuning_db=candidates).close()
    with load(work / "rule.mjb", threads=1) as rule, load(work / "tuned.mjb", threads=1) as tuned:
        wrong = [check.name for check in verify(tuned) if not check.passed]
        if wrong:
            raise VerificationError(
                f"[tune] the tuned program gives other outputs ({', '.join(wrong)}); nothing was"
                " kept: try another --seed"
            )
        times = kernel_times(rule, tuned, lambda n, of: progress("measuring", n, of))
        manifest = tuned.manifest
    return _judge(TuningRecords(candidates), get_target(target), functions, manifest, times)


def _judge(
    records: TuningRecords,
    target: Target,
    functions: list[Function],
    manifest: Manifest,
    times: tuple[np.ndarray, np.ndarray],
) -> tuple[list[Tuned], list[TuningRecord]]:
    """``manifest``: of the tuned program; ``times``: nanoseconds of both programs' kernels."""
    tuning = manifest.toolchain["tuning"]
    digests = [tuning["kernels"].get(kernel.name) for kernel in manifest.kernels]
    results, winners = [], []
    for function in functions:
        record = records.best(function.workload["main"], target)
        digest = "" if record is None else digest_of(record)
        calls = [i for i, d in enumerate(digests) if d == digest]
        if record is None or not calls:
            remark = tuning["refused"].get(function.names[0], "no trial was valid")
            results.append(Tuned(function.names[0], len(function.names), None, None, False, remark))
            continue
        rule_us, tuned_us = (float(t[calls].sum()) / 1e3 for t in times)
        kept = tuned_us < (1 - MARGIN) * rule_us
        if kept:
            winners.append(record)
        results.append(Tuned(function.names[0], len(calls), rule_us, tuned_us, kept))
    return results, winners


def _others(
    old: Iterable[TuningRecord], functions: list[Function], target: Target
) -> list[TuningRecord]:
    """Records of other functions or targets."""
    tuned = [f.workload for f in functions]
    return [
        record
        for record in old
        if not belongs(record, target)
        or not any(structural_equal(record.workload.mod, w) for w in tuned)
    ]


def _write(
    folder: str | os.PathLike[str],
    work: Path,
    others: Iterable[TuningRecord],
    winners: Iterable[TuningRecord],
) -> None:
    """``folder`` with these records and no more."""
    work.mkdir()
    database = JSONDatabase(work_dir=str(work))
    for record in (*others, *winners):
        workload = database.commit_workload(record.workload.mod)
        database.commit_tuning_record(
            TuningRecord(record.trace, workload, record.run_secs, record.target, record.args_info)
        )
    try:
        Path(folder).mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"[tune] cannot make the folder {folder}: {error.strerror}") from error
    for name in (WORKLOADS, RECORDS):
        with atomic_write(Path(folder) / name) as stream:
            stream.write((work / name).read_bytes())
