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
    "torch.compile": "torch_compile",
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
