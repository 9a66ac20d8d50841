"""Targets: what a bundle is compiled for. One frozen dataclass, one table.

A target knows nothing of model families; kernels ask it only for its vector unit (`Isa`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from millijoule import cpu
from millijoule.bundle import GRAPH_KINDS
from millijoule.errors import UsageError


@dataclass(frozen=True)
class Isa:
    """The vector unit as kernels see it: lanes of float32 and number of registers that hold them.

    ``int8`` names the instructions that multiply and add bytes: "dot" (SDOT), "vnni" (VPDPBUSD),
    "dsp" (SMLAD on pairs of 16 bits), "mve" (VMLADAV), or "widen" where bytes are widened first.
    ``popcount``: whether AVX-512 counts bits in words (VPOPCNTDQ). ``bit_mma``: whether tensor
    cores multiply matrices of bits. ``half``: lanes of float16 arithmetic; 0 where numbers can only
    be stored so. ``product``: what dense kernels multiply in.
    """

    name: str
    lanes: int
    registers: int
    int8: str = "widen"
    popcount: bool = False
    bit_mma: bool = False
    half: int = 0
    product: str = "float32"

    @property
    def gpu(self) -> bool:
        """Whether kernels run on blocks of threads; a thread is scalar."""
        return self.name == "gpu"

    def in_half(self) -> Isa:
        """The unit as dense kernels of a float16 program see it: itself without such arithmetic."""
        return replace(self, lanes=self.half, product="float16") if self.half else self


AVX512 = Isa("avx512", lanes=16, registers=32)
AVX512_VNNI = Isa("avx512", lanes=16, registers=32, int8="vnni")
# every CPU that counts bits in words has VNNI, too (Ice Lake, Zen 4)
AVX512_POPCOUNT = Isa("avx512", lanes=16, registers=32, int8="vnni", popcount=True)
AVX2 = Isa("avx2", lanes=8, registers=16)
AVX2_VNNI = Isa("avx2", lanes=8, registers=16, int8="vnni")
SSE2 = Isa("sse2", lanes=4, registers=16)
NEON = Isa("neon", lanes=4, registers=32)
# SDOT and arithmetic of halves: Armv8.2 has them as options, every core in the table both
NEON_DOT = Isa("neon", lanes=4, registers=32, int8="dot", half=8)
NEON_V7 = Isa("neon", lanes=4, registers=16)
DSP = Isa("dsp", lanes=1, registers=32, int8="dsp")
MVE = Isa("mve", lanes=4, registers=8, int8="mve")
SCALAR = Isa("scalar", lanes=1, registers=8)
GPU = Isa("gpu", lanes=1, registers=255)
GPU_BIT_MMA = Isa("gpu", lanes=1, registers=255, bit_mma=True)


STATIC_AOT, STATIC_LIBRARY, STATIC_CUDA = "static-aot", "static-library", "static-cuda"
ONNX, MLPROGRAM, TFLITE = "onnx", "mlprogram", "tflite"
_MCU_ALIGNMENT = 16  # what a vector of Helium wants; the scalar cores need 8


@dataclass(frozen=True)
class Target:
    """One row of the target table.

    ``kind``: "static-aot" (a shared library for Linux), "static-cuda" (the same with kernels for
    NVIDIA GPUs), "static-library" (bare metal), or the format of another runtime's graph (such as
    "onnx"), which has no triple, CPU or vector unit. ``sm``: compute capability of the GPU × 10.
    ``triple``, ``cpu`` and ``float_abi`` are LLVM's; ``proved`` says what has run programs of this
    target, and ``note`` what a user should know before choosing it. ``alignment`` is MJ_ALIGNMENT:
    bytes to which arena, weights and every planned buffer are aligned. ``system``: the oldest
    system whose runtime takes the graph, where the format has versions ("iOS18").
    """

    name: str
    kind: str
    triple: str
    cpu: str
    isa: Isa
    proved: str
    note: str = ""
    float_abi: str = ""
    alignment: int = 64
    system: str = ""
    sm: int = 0

    @property
    def is_cuda(self) -> bool:
        """Whether kernels run on an NVIDIA GPU."""
        return self.kind == STATIC_CUDA

    @property
    def is_graph(self) -> bool:
        """Whether programs are graphs that another runtime calculates."""
        return self.kind in GRAPH_KINDS

    @property
    def bare_metal(self) -> bool:
        """Whether programs run without an operating system."""
        return self.kind == STATIC_LIBRARY

    def tvm(self) -> Any:
        """The TVM target."""
        import tvm

        options: dict[str, Any] = {"kind": "llvm", "mtriple": self.triple, "mcpu": self.cpu}
        if self.float_abi:  # without it objects lack the tag of the hard-float calling convention
            options["mfloat-abi"] = self.float_abi
        if self.bare_metal:  # level 3 unrolls to 2.6 times the code and runs no fewer instructions
            options["opt-level"] = 2
            options["vector-width"] = 32 * max(self.isa.lanes, 1)  # bits; LLVM would assume 128
        return tvm.target.Target(options)

    def features(self) -> tuple[str, ...]:
        """LLVM's names of the instruction sets that programs may use, tuning hints left out.

        Of ARM Linux those that a device can be asked for: LLVM mixes the others with hints on how
        to schedule for a core, and with what only an operating system uses.
        """
        from tvm.target import codegen

        names = sorted(str(name) for name in codegen.llvm_get_cpu_features(self.tvm()))
        arch = cpu.architecture_of(self.triple)
        if arch in ("aarch64", "armv7"):
            return tuple(n for n in names if n in cpu.known_features(arch))
        return tuple(n for n in names if not n.startswith(("fast-", "slow-", "false-")))


_LINUX_X86 = "x86_64-linux-gnu"
_QEMU_USER = "tests under qemu-user; not on hardware so far"
_CUDA = (
    "the CUDA source, on this machine by an emulator of ours; the host program under qemu-user;"
    " not on hardware so far"
)
_QEMU_SYSTEM = "tests on an emulated MPS board; not on hardware so far"
_EVALUATED = "the saved package, by an evaluator of ours; Core ML itself has not run it so far"


def _arm_linux(name: str, isa: Isa, note: str) -> Target:
    """A 64-bit ARM Linux target."""
    return Target(name, "static-aot", "aarch64-linux-gnu", name, isa, _QEMU_USER, note)


def _jetson(board: str, cpu_name: str, sm: int, isa: Isa, note: str) -> Target:
    """An NVIDIA Jetson: 64-bit ARM Linux with a GPU of compute capability ``sm`` / 10."""
    name, triple = f"jetson-{board}", "aarch64-linux-gnu"
    return Target(name, STATIC_CUDA, triple, cpu_name, isa, _CUDA, note, sm=sm)


def _graph(name: str, kind: str, proved: str, note: str, system: str = "") -> Target:
    """A target whose programs another runtime calculates."""
    return Target(name, kind, "", "", Isa("its own", 0, 0), proved, note, system=system)


def _cortex_m(core: str, triple: str, isa: Isa, note: str) -> Target:
    """A bare-metal microcontroller target."""
    abi = "hard" if triple.endswith("hf") else "soft"
    name = f"cortex-{core}"
    return Target(name, STATIC_LIBRARY, triple, name, isa, _QEMU_SYSTEM, note, abi, _MCU_ALIGNMENT)


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
    "cortex-a53": _arm_linux("cortex-a53", NEON, "Raspberry Pi 3 and Zero 2, i.MX 8M"),
    "cortex-a72": _arm_linux("cortex-a72", NEON, "Raspberry Pi 4, RK3399, AWS Graviton"),
    "cortex-a76": _arm_linux("cortex-a76", NEON_DOT, "Raspberry Pi 5, RK3588"),
    "cortex-a78ae": _arm_linux("cortex-a78ae", NEON_DOT, "Jetson Orin's CPU"),
    "armv7": Target(
        "armv7",
        "static-aot",
        "armv7a-linux-gnueabihf",
        "cortex-a7",
        NEON_V7,
        proved=_QEMU_USER,
        note="32-bit ARM Linux, hard float, with NEON and VFPv4 (Raspberry Pi 2, i.MX 6ULL)",
        float_abi="hard",
    ),
    "jetson-orin": _jetson(
        "orin", "cortex-a78ae", 87, GPU_BIT_MMA, "Orin Nano, NX, AGX; JetPack 6"
    ),
    "jetson-thor": _jetson("thor", "generic", 110, GPU, "AGX Thor; JetPack 7"),
    "jetson-xavier": _jetson("xavier", "generic", 72, GPU, "Xavier NX, AGX Xavier; JetPack 5"),
    "cortex-m3": _cortex_m("m3", "thumbv7m-none-eabi", SCALAR, "no floating-point unit"),
    "cortex-m4": _cortex_m("m4", "thumbv7em-none-eabihf", DSP, "with FPU (FPv4-SP)"),
    "cortex-m7": _cortex_m("m7", "thumbv7em-none-eabihf", DSP, "with FPU"),
    "cortex-m55": _cortex_m("m55", "thumbv8.1m.main-none-eabihf", MVE, "with Helium (MVE)"),
    "tensorrt": _graph(
        "tensorrt",
        ONNX,
        proved="the graph, by ONNX Runtime and TensorRT-RTX's parser; engines have never run",
        note="NVIDIA GPUs; the device builds the engine when it first loads the bundle",
    ),
    "coreml": _graph(
        "coreml",
        MLPROGRAM,
        proved=_EVALUATED,
        note="iPhone, iPad and Mac (iOS 18, macOS 15); streams in float16 keep their own state",
        system="iOS18",
    ),
    "coreml-ios17": _graph(
        "coreml-ios17",
        MLPROGRAM,
        proved=_EVALUATED,
        note="… from iOS 17 and macOS 14 on; states are inputs and outputs",
        system="iOS17",
    ),
    "litert": _graph(
        "litert",
        TFLITE,
        proved="tests on this machine, under ai-edge-litert; not on a phone so far",
        note="Android, Raspberry Pi and other devices with LiteRT (TensorFlow Lite)",
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
        isa = NEON_DOT if {"asimddp", "asimdhp"} <= set(cpu.features()) else NEON
    else:
        present = cpu.features()  # what the operating system enabled, not just the silicon
        isa = AVX512 if "avx512vl" in present else AVX2 if "avx2" in present else SSE2
        if isa is AVX512 and "avx512_vnni" in present:
            isa = AVX512_POPCOUNT if "avx512_vpopcntdq" in present else AVX512_VNNI
        elif isa is AVX2 and "avx_vnni" in present:
            isa = AVX2_VNNI
    return Target("host", "static-aot", f"{arch}-linux-gnu", name, isa, proved="this machine")
