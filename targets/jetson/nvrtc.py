"""CUDA C → machine code (cubin) through NVRTC, NVIDIA's compiler as a library from PyPI.

No CUDA toolkit, host compiler, driver or GPU is needed, and a kernel takes milliseconds. Machine
code runs under drivers of its own major version of CUDA and of later ones, so every GPU gets the
oldest compiler that serves it: 11.8 for Xavier (JetPack 5), 12.6 for Orin (JetPack 6 on), 13 for
Thor.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from millijoule.errors import DeviceError
from millijoule.targets.jetson.headers import HEADERS
from millijoule.targets.jetson.multiprocessor import Occupancy, multiprocessor, occupancy


@dataclass(frozen=True)
class Compiler:
    """One release: its package on PyPI and where its library lies below ``nvidia/``."""

    package: str
    library: str
    version: str


_CUDA_11 = Compiler("nvidia-cuda-nvrtc-cu11", "cuda_nvrtc/lib/libnvrtc.so.11.2", "11.8")
_CUDA_12 = Compiler("nvidia-cuda-nvrtc-cu12", "cuda_nvrtc/lib/libnvrtc.so.12", "12.6")
_CUDA_13 = Compiler("nvidia-cuda-nvrtc", "cu13/lib/libnvrtc.so.13", "13")
# Products and sums are rounded one by one, as on a CPU: a network of spikes gives the same bits.
# Kernels that gain by contraction ask for it (`threads.fma`).
_OPTIONS = ("--std=c++17", "--fmad=false", "--ptxas-options=-v")


def compiler_for(sm: int) -> Compiler:
    """The release that makes code for compute capability ``sm`` / 10."""
    sm = multiprocessor(sm).sm
    return _CUDA_11 if sm < 75 else _CUDA_12 if sm <= 90 else _CUDA_13


@dataclass(frozen=True)
class KernelResources:
    """What the assembler says that one kernel takes.

    ``registers`` per thread; bytes: ``shared`` (static) per block, ``stack``, ``spill_stores`` and
    ``spill_loads`` per thread.
    """

    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int

    @property
    def spills(self) -> int:
        """Bytes that go to memory for want of registers."""
        return self.spill_stores + self.spill_loads

    def occupancy(self, sm: int, threads: int, dynamic: int = 0) -> Occupancy:
        """Estimated theoretical occupancy of blocks of ``threads`` threads."""
        return occupancy(sm, threads, self.registers, self.shared + dynamic)


@dataclass(frozen=True)
class Cubin:
    """Machine code for one GPU, and the resources of every kernel in it."""

    code: bytes
    sm: int
    compiler: str
    kernels: dict[str, KernelResources]


def compile_cubin(source: str, sm: int) -> Cubin:
    """Compile CUDA C. DeviceError if the compiler is not installed or refuses the source."""
    found = compiler_for(sm)
    with _locale_kept(), _Program(_library(found), source) as program:
        log = program.compile(f"--gpu-architecture=sm_{sm}", *_OPTIONS)
        return Cubin(program.cubin(), sm, found.version, read_resources(log))


_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def read_resources(log: str) -> dict[str, KernelResources]:
    """Resources by kernel out of what ``ptxas -v`` prints."""
    found = {}
    for part in log.split("Compiling entry function ")[1:]:
        name = part.split("'")[1]
        stack, used, shared = _STACK.search(part), _USED.search(part), _SHARED.search(part)
        if stack is None or used is None:
            raise DeviceError(f"[nvrtc] ptxas must report on {name}, but printed {part[:200]!r}")
        numbers = [int(n) for n in stack.groups()]
        found[name] = KernelResources(int(used[1]), int(shared[1]) if shared else 0, *numbers)
    return found


@cache
def _library(compiler: Compiler) -> Any:
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / compiler.library
        if path.exists():
            return ctypes.CDLL(str(path))
    raise DeviceError(
        f"[nvrtc] CUDA {compiler.version} must be installed to compile kernels, but "
        f"{compiler.package} is missing; run: pip install 'millijoule[jetson]'"
    )


@contextmanager
def _locale_kept() -> Iterator[None]:
    """NVRTC leaves the calling thread in the C locale, in which Python reads files as ASCII."""
    uselocale = ctypes.CDLL(None).uselocale
    uselocale.argtypes, uselocale.restype = [ctypes.c_void_p], ctypes.c_void_p
    before = uselocale(None)
    try:
        yield
    finally:
        uselocale(before)


class _Program:
    """One compilation through the C API of NVRTC."""

    def __init__(self, library: Any, source: str) -> None:
        self._library, self._handle = library, ctypes.c_void_p()
        texts, names = (
            (ctypes.c_char_p * len(HEADERS))(*(t.encode() for t in part))
            for part in (HEADERS.values(), HEADERS)
        )
        args = source.encode(), b"kernels.cu", len(HEADERS), texts, names
        self._call("CreateProgram", *args, create=True)

    def _call(self, name: str, *args: Any, create: bool = False) -> int:
        handle = ctypes.byref(self._handle) if create else self._handle
        status = int(getattr(self._library, f"nvrtc{name}")(handle, *args))
        if status and name != "CompileProgram":
            raise DeviceError(f"[nvrtc] {name} must succeed, but returned error {status}")
        return status

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.nvrtcDestroyProgram(ctypes.byref(self._handle))

    def compile(self, *options: str) -> str:
        """Compile; returns what the compiler and the assembler print."""
        array = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        failed = self._call("CompileProgram", len(options), array)
        log = self._bytes("ProgramLog").decode(errors="replace").rstrip("\0")
        if failed:
            raise DeviceError(f"[nvrtc] CUDA source must compile, but the compiler says: {log}")
        return log

    def cubin(self) -> bytes:
        """The machine code."""
        return self._bytes("CUBIN")

    def _bytes(self, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", buffer)
        return buffer.raw
