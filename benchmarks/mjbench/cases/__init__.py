"""The cases, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from mjbench.cases.binary import run_binary
from mjbench.cases.kernels import run_kernels
from mjbench.cases.models import run_models
from mjbench.cases.operators import run_operators
from mjbench.cases.sequence import run_sequence
from mjbench.cases.startup import run_startup
from mjbench.cases.streaming import run_streaming
from mjbench.result import CaseResult, Settings

CASES: dict[str, Callable[[Settings], CaseResult]] = {
    "streaming": run_streaming,
    "sequence": run_sequence,
    "kernels": run_kernels,
    "binary": run_binary,
    "operators": run_operators,
    "startup": run_startup,
    "models": run_models,
}
