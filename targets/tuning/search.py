"""MetaSchedule's search for schedules of single functions, on this machine with one core.

Candidates are compiled and timed in processes of their own (TVM's LocalBuilder and LocalRunner), so
that one that crashes or never ends costs its own trial only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tvm
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms

from millijoule.errors import DeviceError
from millijoule.targets.target import Target
from millijoule.targets.tuning.intrinsics import only_cpu_intrinsics

_AT_ONCE = 32  # candidates between two looks at what was measured
_PACKAGES = ("cloudpickle", "psutil")  # of TVM's pool of processes
_LOGGER = "tvm.s_tir.meta_schedule"


def check_packages() -> None:
    """DeviceError if the search cannot run here."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise DeviceError(
            f"[tune] needs the packages {', '.join(missing)}; run `pip install 'millijoule[tune]'`"
        )


def search(
    workload: tvm.IRModule,
    target: Target,
    folder: Path,
    trials: int,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Try ``trials`` schedules of ``workload``; the database in ``folder`` gets their times.

    ``progress`` is called with the number of trials done. Trials are chosen by evolution from those
    measured, with predictions at random: no learned model.
    """
    done = 0

    @derived_object
    class Count(ms.measure_callback.PyMeasureCallback):
        def apply(self, scheduler: Any, task: int, candidates: Any, built: Any, ran: Any) -> None:
            nonlocal done
            done += len(ran)
            progress(done)

    backend = target.tvm()
    options = {"kind": "llvm", "mtriple": target.triple, "mcpu": target.cpu, "num-cores": 1}
    if target.float_abi:
        options["mfloat-abi"] = str(backend.attrs["mfloat-abi"])
    with _one_thread(), _silent(), only_cpu_intrinsics():
        ms.tune_tir(
            workload,
            tvm.target.Target(options),
            str(folder),
            trials,
            num_trials_per_iter=min(trials, _AT_ONCE),
            builder=ms.builder.LocalBuilder(max_workers=1, f_build=_candidate_builder()),
            runner=ms.runner.LocalRunner(),
            cost_model=ms.cost_model.RandomModel(seed=seed),
            measure_callbacks=[*ms.measure_callback.MeasureCallback.create("default"), Count()],
            num_tuning_cores=1,
            seed=seed,
        )


def _candidate_builder() -> Callable[[tvm.IRModule, Any, Any], Any]:
    """What compiles a candidate, in a process that TVM starts anew for every round.

    It is a function inside of one, so that its code is sent there, and not the name of this module,
    whose import takes longer. Unlike TVM's own it loads no instructions: the candidate has them.
    """

    def build(module: tvm.IRModule, target: Any, params: Any) -> Any:
        from tvm import driver
        from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

        plain = RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(module)
        return driver.build(plain, target=target)

    return build


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started inside run parallel loops on one thread."""
    name = "TVM_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _silent() -> Iterator[None]:
    """TVM's tables of the search go to files in its folder only."""
    logger = logging.getLogger(_LOGGER)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
