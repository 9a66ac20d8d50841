"""Compiling a bundle's CUDA source and launch tables for this machine, once per content."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from ...bundle import CUDA_ENTRY, CUDA_SOURCE, Bundle
from ...errors import BundleError, DeviceError
from ..graph import cache_folder
from .source import emulated_source, images

__all__ = ["compile_driver", "emulated_driver", "emulated_libraries"]

_HERE = Path(__file__).parent
_RUNTIME = Path(__file__).parents[2] / "runtime"
_PARTS = ("include", "src", "cuda")
_COMMON = ("-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-w")
# products and sums are rounded one by one, as the GPU's code is compiled; glibc's checked longjmp
# takes a change of stacks for an error
_EMULATOR = ("-std=c++17", "-fno-strict-aliasing", "-ffp-contract=off", "-U_FORTIFY_SOURCE")


def emulated_libraries(bundle: Bundle) -> tuple[Path, Path]:
    """(the program for this machine, the driver that runs its kernels), made once per content.

    Raises DeviceError if there is no compiler, or it fails.
    """
    command = _compiler()
    cuda, entry, sms = bundle.read(CUDA_SOURCE), bundle.read(CUDA_ENTRY), _sms(bundle)
    digest = hashlib.sha256(f"{shlex.join(command)} {sms} {platform.machine()}".encode())
    for data in (cuda, entry, *(path.read_bytes() for path in _ours())):
        digest.update(hashlib.sha256(data).digest())
    folder = cache_folder() / "emulated" / digest.hexdigest()[:32]
    made = folder / "libmodel.so", folder / "libcuda.so"
    if not all(path.exists() for path in made):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as scratch:
            # a fused product is one instruction where the processor has it, else a slow function
            native = ["-march=native"] if platform.machine() == "x86_64" else []
            compile_driver(cuda.decode(), sms[-1], Path(scratch), [*command, *native])
            _compile_program(entry.decode(), sms, Path(scratch), command)
            folder.mkdir(exist_ok=True)
            for path in made:
                os.replace(Path(scratch) / path.name, path)
    return made


def emulated_driver(
    bundle: Bundle, folder: Path, command: Sequence[str], variables: Mapping[str, str]
) -> Path:
    """The driver alone, for the processor that ``command`` compiles for, in ``folder``."""
    cuda, sm = bundle.read(CUDA_SOURCE).decode(), _sms(bundle)[-1]
    return compile_driver(cuda, sm, folder, command, variables)


def compile_driver(
    cuda: str,
    sm: int,
    folder: Path,
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
) -> Path:
    """``libcuda.so`` in ``folder`` that runs the kernels of ``cuda`` as a GPU of ``sm`` / 10."""
    (folder / "kernels.cpp").write_text(emulated_source(cuda))
    out = folder / "libcuda.so"
    sources = ["kernels.cpp", *map(str, (_HERE / "emulator.cpp", _HERE / "driver.cpp"))]
    what = ["-x", "c++", *sources, f"-I{_HERE}", f"-DMJ_SM={sm}", "-lm", "-o", out.name]
    _run([*command, *_COMMON, *_EMULATOR, *what], folder, variables)
    return out


def _compile_program(
    entry: str, sms: tuple[int, ...], folder: Path, command: Sequence[str]
) -> None:
    (folder / "entry.c").write_text(entry)
    (folder / "images.c").write_text(images(sms))
    includes = [f"-I{_RUNTIME / part}" for part in _PARTS]
    sources = [p for part in ("src", "cuda") for p in sorted((_RUNTIME / part).glob("*.c"))]
    what = ["entry.c", "images.c", *map(str, sources), "-ldl", "-lm", "-o", "libmodel.so"]
    _run([*command, *_COMMON, "-std=gnu11", *includes, *what], folder)


def _sms(bundle: Bundle) -> tuple[int, ...]:
    program = bundle.manifest.cuda
    if program is None:
        raise BundleError("[manifest.cuda] is missing: the program is not for an NVIDIA GPU")
    return program.sms


def _ours() -> list[Path]:
    """Every file of ours that is compiled in, or decides how."""
    folders = [_HERE, *(_RUNTIME / part for part in _PARTS)]
    kinds = (".c", ".h", ".cpp", ".py")
    return [p for folder in folders for p in sorted(folder.iterdir()) if p.suffix in kinds]


def _compiler() -> list[str]:
    """A compiler of C and C++ for this machine: ``$CC``, cc, gcc, clang, or the package ziglang."""
    named = shlex.split(os.environ.get("CC", ""))
    for command in (named, ["cc"], ["gcc"], ["clang"]):
        if command and shutil.which(command[0]):
            return command
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise DeviceError(
        "[cuda-emulator] needs a C++ compiler; run: apt-get install g++, or pip install ziglang"
    )


def _run(command: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(variables or {}), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        errors = (line.strip() for line in done.stderr.splitlines() if "error" in line)
        first = next(errors, "it printed nothing")
        raise DeviceError(f"[cuda-emulator] {command[0]} cannot compile the program: {first}")
