"""Runtimes that compute the same model: ours and its peers, each in processes of its own.

Every module here has

- ``PACKAGES``: the distributions whose versions are recorded;
- ``SETUP``: how it is set up, one line for the record;
- ``prepare(subject, folder)``: converts the model into files in ``folder``; the folder above holds
  ``input.npy``, ``expected.npy`` and ``model.onnx``;
- ``load(folder, threads) -> Runner``: loads those files and binds the input.

A module imports its runtime inside functions only: most of them cannot live in one process.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

OURS = "ours"
PEERS = {
    OURS: "ours",
    "ONNX Runtime": "onnx_runtime",
    "OpenVINO": "openvino",
    "LiteRT XNNPACK": "litert",
    "ExecuTorch XNNPACK": "executorch",
    "ncnn": "ncnn",
    "torch eager": "torch_eager",
    "torch Inductor": "torch_compile",
}


class Runner(Protocol):
    """A loaded model with bound input and output."""

    def run(self) -> None:
        """Compute once."""

    def output(self) -> np.ndarray:
        """The result of the last run, in the shape of ``expected.npy``."""


def module_of(peer: str) -> ModuleType:
    """The module of a name in `PEERS`."""
    return importlib.import_module(f"mjbench.peers.{PEERS[peer]}")


def versions(peer: str) -> dict[str, str]:
    """Version of each distribution that ``peer`` is made of; PackageNotFoundError if one lacks."""
    return {name: importlib.metadata.version(name) for name in module_of(peer).PACKAGES}


def read_input(folder: Path) -> np.ndarray:
    """The input of the model whose artefacts are in ``folder``."""
    return np.load(folder.parent / "input.npy")


def expected_shape(folder: Path) -> tuple[int, ...]:
    """Shape of the model's output."""
    shape: tuple[int, ...] = np.load(folder.parent / "expected.npy", mmap_mode="r").shape
    return shape


def onnx_file(folder: Path) -> Path:
    """The model as ONNX, shared by all who read that."""
    return folder.parent / "model.onnx"


_TRIES = 5


def fastest(candidates: Iterable[Callable[[], Path]], load: Callable[[Path], Runner]) -> Path:
    """The file that runs fastest; candidates that cannot be made or run are passed over.

    Each candidate makes a file. The last error is raised if none works.
    """
    best: tuple[float, Path] | None = None
    failure: Exception | None = None
    for make in candidates:
        try:
            path = make()
            seconds = best_seconds(load(path).run)
        except Exception as error:  # converters and runtimes raise anything
            failure = error
            continue
        if best is None or seconds < best[0]:
            best = seconds, path
    if best is None:
        raise failure or ValueError("no candidates")
    return best[1]


def best_seconds(run: Callable[[], object]) -> float:
    """CPU time, of all threads, of the fastest of some runs."""
    times = []
    for _ in range(_TRIES):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)
