"""Instructions per call and per kernel, counted by the emulator: exact, and the same every time.

After one call that is not counted, every call is run twice over the same inputs and states. The
first pass has no hooks in it and gives the instructions of a call as a whole. The second one has a
hook of two instructions around every kernel, at which the emulator notes its count::

    entry            kernel                      entry
    arguments, call  ╷                           check, arguments, call  ╷
       hook: mark → return … arguments, call → body → return …    hook: mark → return
                └──────────── what is noted for the kernel ────────────┘

What the hooks add to a call is the difference between the passes. Half of it falls between the two
marks of a kernel (a return on one side, the arguments and the call of the hook on the other), so
that half, rounded, is taken off; it is about six instructions. What a kernel is charged is then
what it costs in a product: passing its arguments, its body, checking its result. The rest of the
call, such as swapping states, is ``outside_kernels``: kernels and rest add up to the call exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np

from ..bundle import Kernel
from ..remote.emulated import EmulatedProgram, RunCounts
from .layers import GLUE
from .workload import Workload

__all__ = ["MAX_CALLS", "count_instructions"]

MAX_CALLS = 512


def count_instructions(
    workload: Workload, program: EmulatedProgram, kernels: tuple[Kernel, ...], source: str
) -> tuple[dict[str, Any], int]:
    """Count one pass over the inputs, at most 512 calls.

    Returns:
        The section ``instructions`` of a profile, and the deepest stack of any call in bytes.
        Figures are means per call, but for ``calls`` (how many), ``total`` (of all calls together),
        ``min`` and ``max`` (of a call): spiking models take more instructions where more neurons
        fire.
    """
    workload.prepare(workload.calls[0])
    workload.run(workload.calls[0])  # the first run of all notes a peak of workspace
    plain = _pass(workload, program, kernels=False)
    hooked = _pass(workload, program, kernels=True)
    calls = len(plain)
    totals = [counts.instructions for counts in plain]
    total = sum(totals)
    added = sum(counts.instructions for counts in hooked) - total
    hook = round(added / (2 * calls * len(kernels))) if kernels else 0
    noted = np.sum([counts.kernels for counts in hooked], axis=0, dtype=np.int64)
    charged = np.maximum(noted - hook * calls, 0)
    rows = [
        {
            "name": kernel.name,
            "op": kernel.op,
            "layer": kernel.layer or GLUE,
            "instructions": int(count) / calls,
            "share": int(count) / total if total else 0.0,
        }
        for kernel, count in zip(kernels, charged, strict=True)
    ]
    section = {
        "status": "measured",
        "source": source,
        "what": "retired instructions; not cycles, not time",
        "calls": calls,
        "total": total,
        "per_call": total / calls,
        "min": min(totals),
        "max": max(totals),
        "outside_kernels": (total - int(charged.sum())) / calls,
        "hook_instructions": hook,
        "kernels": rows,
        "layers": _group(rows, lambda row: str(row["layer"])),
        "ops": _group(rows, lambda row: str(row["op"])),
    }
    return section, max(counts.stack_bytes for counts in plain)


def _pass(workload: Workload, program: EmulatedProgram, kernels: bool) -> list[RunCounts]:
    counts = []
    for call in islice(workload.calls, MAX_CALLS):
        workload.prepare(call)
        counts.append(
            program.run_counted(call.inputs, workload.outputs, kernels=kernels, stack=not kernels)
        )
    return counts


def _group(
    rows: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], str]
) -> list[dict[str, Any]]:
    """Sums per key, in order of first appearance."""
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        empty = {"name": key(row), "kernels": 0, "instructions": 0.0, "share": 0.0}
        group = groups.setdefault(key(row), empty)
        group["kernels"] += 1
        group["instructions"] += row["instructions"]
        group["share"] += row["share"]
    return list(groups.values())
