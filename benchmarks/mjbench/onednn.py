"""Products by oneDNN, one thread, in a process of its own: `onednn_worker.c` and its library.

The library is Debian's, unpacked and run with the release's own loader and C library, so that any
release serves on any machine; or one that is installed under a prefix.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millijoule.errors import DeviceError
from millijoule.targets.toolchain import find_compiler
from mjbench import debian

RELEASE = "sid"  # the newest oneDNN that Debian has
PACKAGES = "libdnnl-dev,libc6,libgomp1,libstdc++6"
FORMS = ("matmul, packed", "matmul, K×N", "matmul, N×K", "inner product, packed")
_SOURCE = Path(__file__).with_name("onednn_worker.c")
_LIBRARIES = ("lib", "lib64", "usr/lib/x86_64-linux-gnu")

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Library:
    """Where headers and libraries are; ``loader`` starts programs with the libraries beside it."""

    include: Path
    libraries: Path
    loader: Path | None = None


def installed(prefix: Path) -> Library:
    """The library under ``prefix``; DeviceError if there is none."""
    for name in _LIBRARIES:
        if (prefix / name / "libdnnl.so").exists():
            return Library(prefix / "include", prefix / name)
    raise DeviceError(f"[oneDNN] {prefix} must hold lib/libdnnl.so, but does not; give its prefix")


def unpacked(folder: Path, release: str = RELEASE) -> Library:
    """Debian's library in ``folder``, fetched on first use."""
    root, done = folder / release, folder / f"{release}.complete"
    if not done.exists():
        shutil.rmtree(root, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        debian.unpack(release, "amd64", PACKAGES, root)
        done.touch()
    libraries = root.resolve() / "usr/lib/x86_64-linux-gnu"
    return Library(root / "usr/include", libraries, libraries / "ld-linux-x86-64.so.2")


class OneDnn:
    """Products of ``shapes`` (M, K, N) in every form, each verified, waiting for rounds.

    Attributes:
        version: of the library.
        isa: what it says it may use, as its own number (`dnnl_cpu_isa_t`).
        names: implementation of every shape in every form, ``[shapes][forms]``.
    """

    def __init__(self, library: Library, shapes: Sequence[Shape], work: Path) -> None:
        command = [str(_compile(library, work))]
        if library.loader is not None:
            command = [str(library.loader), "--library-path", str(library.libraries), *command]
        path = os.pathsep.join([str(library.libraries), os.environ.get("LD_LIBRARY_PATH", "")])
        own = {} if library.loader else {"LD_LIBRARY_PATH": path}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **own, "OMP_NUM_THREADS": "1"},
        )
        self._count = len(shapes)
        self._ask("\n".join([str(len(shapes)), *(" ".join(map(str, shape)) for shape in shapes)]))
        self.version, isa = self._answer().split()
        self.isa = int(isa)
        self.names = [self._answer().split() for _ in shapes]

    def round(self) -> np.ndarray:
        """Nanoseconds of one execution of every product, ``[forms, shapes]``."""
        self._ask("")
        return np.array(self._answer().split(), np.float64).reshape(len(FORMS), self._count)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, text: str) -> None:
        assert self._process.stdin is not None
        print(text, file=self._process.stdin, flush=True)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DeviceError(f"[oneDNN] the worker ended with {self._process.wait()}")
        return line


def _compile(library: Library, work: Path) -> Path:
    program = work / "onednn-worker"
    flags = ["-O2", "-std=gnu11", "-I", str(library.include), str(_SOURCE), "-o", str(program)]
    # The library may need a newer C library than this machine has; its own comes with the loader.
    flags += ["-L", str(library.libraries), "-ldnnl", "-lm", "-Wl,--allow-shlib-undefined"]
    find_compiler().run(flags)
    return program
