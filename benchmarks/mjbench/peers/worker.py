"""The process of one contender: ``python -m mjbench.peers.worker ACTION PEER FOLDER [THREADS]``.

``reference SUBJECT FOLDER`` writes input, expected output and ONNX; ``prepare PEER FOLDER SUBJECT``
converts; ``serve PEER FOLDER THREADS`` loads, then answers one line of JSON per line of JSON::

    {"calls": 5, "warmup": 2} → {"wall": [ns, …], "cpu": [ns, …]}

Whatever a library prints goes to standard error: the answers own standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

_SMOKE_CALLS = 2


def main(arguments: list[str]) -> None:
    """Run one action."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    action, name, folder = arguments[0], arguments[1], Path(arguments[2])
    if action == "reference":
        _reference(name, folder)
    elif action == "prepare":
        from mjbench.peers import module_of
        from mjbench.subjects import SUBJECTS

        module_of(name).prepare(SUBJECTS[arguments[3]], folder)
    else:
        _serve(name, folder, int(arguments[3]), answers)


def _reference(name: str, folder: Path) -> None:
    """What every contender is given, and what it must compute: torch's own result."""
    import torch

    from mjbench.subjects import SUBJECTS

    module, x = SUBJECTS[name].build()
    with torch.inference_mode():
        y = module(x)
    np.save(folder / "input.npy", x.numpy())
    np.save(folder / "expected.npy", y.numpy())
    torch.onnx.export(
        module, (x,), str(folder / "model.onnx"), dynamo=True, external_data=False, verbose=False
    )


def _serve(name: str, folder: Path, threads: int, answers: IO[str]) -> None:
    from mjbench.peers import module_of

    runner = module_of(name).load(folder, threads)
    for _ in range(_SMOKE_CALLS):
        runner.run()
    np.save(folder / "output.npy", runner.output())
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        for _ in range(order["warmup"]):
            runner.run()
        _answer(answers, _block(runner.run, order["calls"]))


def _block(run: Any, calls: int) -> dict[str, list[int]]:
    """Wall-clock time, and CPU time of all threads of this process, of each call."""
    wall, cpu = [], []
    for _ in range(calls):
        start, used = time.perf_counter_ns(), time.process_time_ns()
        run()
        cpu.append(time.process_time_ns() - used)
        wall.append(time.perf_counter_ns() - start)
    return {"wall": wall, "cpu": cpu}


def _answer(answers: IO[str], value: dict[str, Any]) -> None:
    print(json.dumps(value), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
