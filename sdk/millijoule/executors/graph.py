"""What executors of other runtimes' graphs share: names, states, and no clock inside."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from ..bundle import Bundle, GraphProgram, Manifest
from ..errors import BundleError, DeviceError, UsageError

__all__ = ["GraphExecutor", "cache_folder", "one_line", "require_module", "unpack"]


class GraphExecutor(ABC):
    """Runs a graph through a runtime that takes arrays by name; see `base.Program`.

    Such a runtime fuses operators as it likes, so there are no taps; `times_kernels` says whether
    it tells times per operator.
    """

    times_kernels = False

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._manifest: Manifest = bundle.manifest
        graph = bundle.manifest.graph
        if graph is None:
            raise BundleError("[manifest.graph] is missing: the bundle holds no graph")
        self._graph: GraphProgram = graph
        self._threads = threads
        self._open = True
        streaming = bundle.manifest.streaming
        self._specs = {s.name: s for s in (streaming.states if streaming else ())}
        self._states: dict[str, np.ndarray] = {}
        self.reset()

    @abstractmethod
    def infer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Outputs of the graph by its own names, for inputs by its own names."""

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Run once; see :meth:`Program.run`."""
        if not self._open:
            raise UsageError("the program is closed; load the bundle again")
        specs = self._manifest.inputs
        if len(inputs) != len(specs) or len(outputs) != len(self._manifest.outputs):
            raise UsageError(
                f"the program takes {len(specs)} arrays and gives {len(self._manifest.outputs)},"
                f" but received {len(inputs)} and {len(outputs)}"
            )
        feeds = {
            self._name(s.name): np.ascontiguousarray(a) for s, a in zip(specs, inputs, strict=True)
        }
        results = self.infer({**feeds, **self._states})
        for spec, array in zip(self._manifest.outputs, outputs, strict=True):
            array[...] = results[self._name(spec.name)].reshape(array.shape)
        for state in self._graph.states:
            if state.input != state.output:
                shape = self._specs[state.state].shape
                new = results[self._name(state.output)]
                self._states[self._name(state.input)] = np.array(new).reshape(shape)

    def run_tapped(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], taps: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Only without taps: a graph shows its outputs alone."""
        if taps:
            raise UsageError(f"unknown tap {taps[0]!r}; taps: none in a graph of another runtime")
        self.run(inputs, outputs)
        return {}

    def reset(self) -> None:
        """Put every state back to its initial value."""
        self._states = {
            self._name(s.input): np.zeros(self._specs[s.state].shape, self._specs[s.state].dtype)
            for s in self._graph.states
            if s.input != s.output
        }

    def set_threads(self, threads: int) -> None:
        """Only the number that the runtime was opened with; see :meth:`Program.set_threads`."""
        if threads != self._threads:
            raise UsageError(
                f"threads of this program are fixed when it is loaded ({self._threads}); load it"
                f" again with threads={threads}"
            )

    def kept(self) -> dict[str, tuple[int, ...]]:
        """States that the runtime keeps itself: the graph's names of them, with their shapes."""
        return {
            self._name(s.input): self._specs[s.state].shape
            for s in self._graph.states
            if s.input == s.output
        }

    def kernel_times(self, on: bool) -> None:  # noqa: B027 - most runtimes have none
        """Nothing, unless the runtime tells times (see `times_kernels`)."""

    def kernel_ns(self) -> np.ndarray:
        """Zeros, unless the runtime tells times (see `times_kernels`)."""
        return np.zeros(len(self._manifest.kernels), np.uint64)

    def clear_kernel_ns(self) -> None:  # noqa: B027
        """Nothing, unless the runtime tells times (see `times_kernels`)."""

    def close(self) -> None:
        """Let go of the runtime; may be called again."""
        self._open = False

    def _name(self, name: str) -> str:
        return self._graph.names.get(name, name)


def require_module(name: str, what: str, remedy: str) -> ModuleType:
    """Import ``name``; DeviceError with the one-line ``remedy`` where it is missing or broken."""
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        raise DeviceError(f"[device] {what} needs {name} ({error}); {remedy}") from error


def one_line(error: Exception) -> str:
    """What a runtime says, on one line; the name of a silent error."""
    return " ".join(str(error).split()) or type(error).__name__


def cache_folder() -> Path:
    """Where unpacked graphs and engines are kept: ``MJ_CACHE``, else the user's cache."""
    if own := os.environ.get("MJ_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millijoule"


def unpack(bundle: Bundle, prefix: str) -> Path:
    """The members of ``bundle`` under ``prefix`` as files of a cache folder named by their content.

    Made under another name and renamed, so that two processes may do it at once.
    """
    manifest = bundle.manifest
    members = [name for name in sorted(manifest.files) if name.startswith(prefix)]
    text = "".join(f"{name}:{manifest.files[name].sha256}\n" for name in members)
    folder = cache_folder() / "graphs" / hashlib.sha256(text.encode()).hexdigest()[:32]
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        for name in members:
            path = scratch / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bundle.read(name))
        scratch.rename(folder)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if not folder.is_dir():  # nobody else made it meanwhile
            raise DeviceError(f"[device] cannot unpack into {folder}: {error.strerror}") from error
    return folder
