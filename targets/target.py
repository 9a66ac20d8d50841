"""Targets: what a bundle is compiled for. One frozen dataclass, one table.

A target knows nothing of model families; kernels ask it only for its vector unit (`Isa`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from millijoule import cpu
from millijoule.errors import UsageError


@dataclass(frozen=True)
class Isa:
    """The vector unit as kernels see it: lanes of float32 and number of vector registers."""

    name: str
    lanes: int
    registers: int


AVX512 = Isa("avx512", lanes=16, registers=32)
AVX2 = Isa("avx2", lanes=8, registers=16)
SSE2 = Isa("sse2", lanes=4, registers=16)
NEON = Isa("neon", lanes=4, registers=32)


@dataclass(frozen=True)
class Target:
    """One row of the target table.

    ``triple`` and ``cpu`` are LLVM's; ``proved`` says what has run programs of this target, and
    ``note`` what a user should know before choosing it.
    """

    name: str
    kind: str
    triple: str
    cpu: str
    isa: Isa
    proved: str
    note: str = ""

    def tvm(self) -> Any:
        """The TVM target."""
        import tvm

        return tvm.target.Target({"kind": "llvm", "mtriple": self.triple, "mcpu": self.cpu})

    def features(self) -> tuple[str, ...]:
        """LLVM's names of the instruction sets that programs may use, tuning hints left out."""
        from tvm.target import codegen

        names = (str(name) for name in codegen.llvm_get_cpu_features(self.tvm()))
        return tuple(sorted(n for n in names if not n.startswith(("fast-", "slow-", "false-"))))


_LINUX_X86 = "x86_64-linux-gnu"
_TABLE = {
    "x86-64-v3": Target(
        "x86-64-v3",
        "static-aot",
        _LINUX_X86,
        "x86-64-v3",
        AVX2,
        proved="tests on this machine",
        note="any x86-64 CPU with AVX2 and FMA (2013 on)",
    ),
    "x86-64-v4": Target(
        "x86-64-v4",
        "static-aot",
        _LINUX_X86,
        "x86-64-v4",
        AVX512,
        proved="tests on a machine with AVX-512",
        note="x86-64 CPUs with AVX-512 F, BW, CD, DQ, VL",
    ),
}
NAMES = ("host", *_TABLE)


@cache
def get_target(name: str) -> Target:
    """The target called ``name``; UsageError with the valid names otherwise."""
    if name == "host":
        return _host()
    if name not in _TABLE:
        raise UsageError(f"[target] must be one of {', '.join(NAMES)}, but is {name!r}")
    return _TABLE[name]


def list_targets() -> list[Target]:
    """Every target, for ``mj targets``. Does not need TVM: ``host`` is described, not resolved."""
    host = Target(
        "host",
        "static-aot",
        "this machine's",
        "this machine's",
        Isa("detected", 0, 0),
        proved="tests on this machine",
        note="tuned for the CPU that builds it; may not run on an older one",
    )
    return [host, *_TABLE.values()]


def _host() -> Target:
    """This machine: LLVM's name for the CPU and the widest vector unit it really has."""
    from tvm.target import codegen

    system = codegen.llvm_get_system_triple()
    name = codegen.llvm_get_system_cpu()
    arch = system.split("-")[0]
    if arch == "aarch64":
        isa = NEON
    else:
        present = cpu.features()  # what the operating system enabled, not just the silicon
        isa = AVX512 if "avx512vl" in present else AVX2 if "avx2" in present else SSE2
    return Target("host", "static-aot", f"{arch}-linux-gnu", name, isa, proved="this machine")
