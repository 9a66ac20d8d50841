"""The harness's side of `mjbench.peers.worker`: starting contenders and asking them for blocks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from millijoule.cpu import available_cpus

HARNESS = Path(__file__).parents[2]
PREPARE_SECONDS = 900
_LAST_LINES = 3


class PeerError(RuntimeError):
    """A contender cannot be prepared, loaded or run; the message is one line."""


def run_action(log: Path, *arguments: str) -> None:
    """Run one action of the worker to its end; PeerError with its last words if it fails."""
    with log.open("wb") as stream:
        try:
            status = subprocess.run(
                _command(*arguments),
                stdout=stream,
                stderr=stream,
                env=_environment(available_cpus()),
                cwd=log.parent,
                timeout=PREPARE_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise PeerError(f"took longer than {PREPARE_SECONDS} s to prepare") from None
    if status:
        raise PeerError(_last_words(log, status))


class Worker:
    """A contender in its own process, idle but while it computes a block.

    One thread is kept on one CPU, the same for all contenders; more on as many CPUs.
    """

    def __init__(self, peer: str, folder: Path, threads: int) -> None:
        self._log = folder / f"serve-{threads}.log"
        with self._log.open("wb") as stream:
            self._process = subprocess.Popen(
                _command("serve", peer, str(folder), str(threads)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=_environment(threads),
                cwd=folder,
                text=True,
            )
        os.sched_setaffinity(self._process.pid, _cpus(threads))
        self._read()

    def block(self, calls: int, warmup: int) -> tuple[list[int], list[int]]:
        """Wall-clock and CPU nanoseconds of each of ``calls`` calls."""
        assert self._process.stdin is not None
        try:
            print(
                json.dumps({"calls": calls, "warmup": warmup}), file=self._process.stdin, flush=True
            )
        except OSError:
            raise PeerError(_last_words(self._log, self._process.wait())) from None
        answer = self._read()
        return answer["wall"], answer["cpu"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(_last_words(self._log, self._process.wait()))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mjbench.peers.worker", *arguments]


def _cpus(threads: int) -> set[int]:
    return set(sorted(os.sched_getaffinity(0))[-threads:])


def _environment(threads: int) -> dict[str, str]:
    """Every library's own word for its number of threads."""
    count = str(threads)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HARNESS), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "PYTHONWARNINGS": "ignore",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }


def _last_words(log: Path, status: int) -> str:
    """The last line of an error that says something."""
    lines = [
        line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    said = [line for line in lines if line and not line.startswith(("^", "~"))]
    if not said or status < 0:
        return f"process ended with status {status}" + (f" after: {said[-1][:200]}" if said else "")
    return said[-1][:300]
