"""Static libraries: the same bytes every time, sizes as linked, refusals, and what is inside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.bundles import assert_same_bytes
from fixtures.microcontrollers import require_tools, unpack
from fixtures.models import LMUFORMER, Golden, golden_bundle
from millijoule.bundle import Bundle
from millijoule.cli import main
from millijoule.targets.mcu.cores import FLAGS
from millijoule.targets.toolchain import runtime_include

SMALLEST: Golden = LMUFORMER[-1]
M4 = ("--target", "cortex-m4", "--streaming")
CORES = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55")

Factory = pytest.TempPathFactory


def tool(name: str, *arguments: str | Path) -> str:
    """What a program of the cross binutils prints."""
    return subprocess.run(
        [f"arm-none-eabi-{name}", *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("emit", ["object", "c"])
def test_two_builds_are_the_same_bytes(
    emit: str, tmp_path: Path, tmp_path_factory: Factory
) -> None:
    """In another process, another folder, with another hash seed and temporary directory."""
    require_tools()
    options = (*M4, "--emit", emit)
    first = golden_bundle(tmp_path_factory, SMALLEST, *options)
    second, scratch = tmp_path / "some where" / "again.mjb", tmp_path / "temporary"
    second.parent.mkdir()
    scratch.mkdir()
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TMPDIR": str(scratch)}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    arguments = ["build", str(SMALLEST.path), "-o", str(second), "--quiet", *options]
    subprocess.run(
        [sys.executable, "-m", "millijoule", *arguments],
        check=True,
        cwd=second.parent,
        env=environment,
    )
    assert_same_bytes(first, second)
    assert not list(scratch.glob("millijoule-*"))  # torch keeps a folder of its own


@pytest.mark.parametrize("core", CORES)
def test_library(core: str, tmp_path: Path, tmp_path_factory: Factory) -> None:
    """It needs nothing but libc and libm, has no date or owner in it, and no unwind tables."""
    require_tools()
    path = golden_bundle(tmp_path_factory, SMALLEST, "--target", core, "--streaming")
    with Bundle.open(path) as bundle:
        program = unpack(bundle, tmp_path)
    library = program / "libmodel.a"
    defined = set(re.findall(r" [TRDBWVt] (\w+)", tool("nm", library)))
    assert {"mj_model", "mj_init", "mj_run", "mj_reset", "mj_set_hook"} <= defined
    unknown = set(re.findall(r" U (\w+)", tool("nm", library))) - defined
    # libgcc computes what the core has no instruction for: float32 on an M3
    rest = {n for n in unknown if not n.startswith("__") or "unwind" in n or "TVM" in n}
    assert rest <= {"memcpy", "memset", "expf", "erff", "sqrtf", "tanhf"}, rest
    for line in tool("ar", "tv", library).splitlines():
        assert " 0/0 " in line
        assert "1970" in line
    assert ".exidx" not in tool("objdump", "-h", library)
    assert b"/tmp" not in library.read_bytes()


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7"])
def test_kernels_use_single_precision_only(
    core: str, tmp_path: Path, tmp_path_factory: Factory
) -> None:
    """An M4's unit has nothing else, nor has that of many an M7."""
    require_tools()
    path = golden_bundle(tmp_path_factory, SMALLEST, "--target", core, "--streaming")
    with Bundle.open(path) as bundle:
        code = tool("objdump", "-d", unpack(bundle, tmp_path) / "libmodel.a")
    assert not re.findall(r"\b(v(?:add|sub|mul|div|fma|mla|cmp|cvt|neg|abs)\S*\.f64)", code)
    assert not re.findall(r"\w+, :\d+\]", code)  # a load that traps unless it is aligned


@pytest.mark.parametrize("core", CORES)
def test_sizes_are_those_of_an_image(core: str, tmp_path: Path, tmp_path_factory: Factory) -> None:
    """The toolchain's own default script gives an image whose text holds what the bundle says."""
    require_tools()
    path = golden_bundle(tmp_path_factory, SMALLEST, "--target", core, "--streaming")
    with Bundle.open(path) as bundle:
        program, manifest = unpack(bundle, tmp_path), bundle.manifest
    firmware = manifest.firmware
    assert firmware is not None
    assert firmware.flags == FLAGS[core]
    assert firmware.flash.weights == manifest.files["program/weights.bin"].bytes
    assert firmware.ram.arena == manifest.arena.bytes
    io = sum(spec.nbytes for spec in (*manifest.inputs, *manifest.outputs))
    assert io <= firmware.ram.io < io + 16 * len((*manifest.inputs, *manifest.outputs))
    assert 0 < firmware.ram.context < 256
    assert 1000 < firmware.flash.code < 200_000
    main_c = tmp_path / "main.c"
    main_c.write_text(
        '#include "model.h"\n'
        "static uint8_t arena[MJ_MODEL_ARENA_BYTES] __attribute__((aligned(MJ_ALIGNMENT)));\n"
        "mj_context context;\n"
        "int run(const void *const *in, void *const *out) {\n"
        "  return mj_init(&context, &mj_model, mj_weights, MJ_MODEL_WEIGHTS_BYTES, arena,\n"
        "                 sizeof arena) || mj_run(&context, in, out);\n"
        "}\n"
    )
    image = tmp_path / "image.elf"
    subprocess.run(
        [
            *("arm-none-eabi-gcc", *firmware.flags, "-Os", "-nostartfiles", "-specs=nano.specs"),
            *(f"-I{program}", main_c, program / "weights.S", program / "libmodel.a", "-lm"),
            *("-Wl,-e,run", "-Wl,--gc-sections", "-Wl,-z,noexecstack", "-o", image),
        ],
        check=True,
    )
    text, data, bss = map(int, tool("size", image).splitlines()[1].split()[:3])
    assert text + data == pytest.approx(firmware.flash.total, abs=256)  # `run`, padding
    assert data + bss == pytest.approx(firmware.ram.total - firmware.ram.io, abs=64)


@pytest.mark.parametrize(("ram", "fits"), [("64K", True), ("9K", False)])
def test_linker_keeps_the_budget(ram: str, fits: bool, tmp_path: Path) -> None:
    """memory.ld before a board's script sets the lengths of its memories."""
    require_tools()
    out = tmp_path / "m.mjb"
    arguments = ["build", str(SMALLEST.path), "-o", str(out), "--quiet", *M4]
    assert main([*arguments, "--flash", "256K", "--ram", ram]) == 0
    with Bundle.open(out) as bundle:
        program = unpack(bundle, tmp_path)
    main_c = tmp_path / "main.c"
    main_c.write_text(
        '#include "model.h"\n#include "mj_board.h"\n'
        "static uint8_t arena[MJ_MODEL_ARENA_BYTES] __attribute__((aligned(MJ_ALIGNMENT)));\n"
        "static mj_context context;\n"
        "int main(void) {\n"
        "  return mj_init(&context, &mj_model, mj_weights, MJ_MODEL_WEIGHTS_BYTES, arena,\n"
        "                 sizeof arena);\n"
        "}\n"
    )
    boards = runtime_include().parent / "boards"
    sources = [main_c, program / "weights.S", boards / "startup.c", boards / "semihosting.c"]
    command = [
        *("arm-none-eabi-gcc", *FLAGS["cortex-m4"], "-nostartfiles", "-specs=nano.specs"),
        *(f"-I{program}", f"-I{boards}", f"-L{boards}", *sources, program / "libmodel.a", "-lm"),
        *("-T", program / "memory.ld", "-T", "mps2-an386.ld", "-o", tmp_path / "image.elf"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == fits, done.stderr
    assert ("region `RAM' overflowed" in done.stderr) != fits


def test_arena_is_aligned_to_what_the_core_needs(tmp_path_factory: Factory) -> None:
    """A state of 4 bytes takes 16 there, and 64 on Linux."""
    require_tools()
    small = golden_bundle(tmp_path_factory, SMALLEST, *M4)
    large = golden_bundle(tmp_path_factory, SMALLEST, "--streaming")
    with Bundle.open(small) as mcu, Bundle.open(large) as linux:
        assert (mcu.manifest.arena.alignment, linux.manifest.arena.alignment) == (16, 64)
        assert mcu.manifest.streaming == linux.manifest.streaming
        streaming = mcu.manifest.streaming
        assert streaming is not None
        padded = sum(-(-state.nbytes // 16) * 16 for state in streaming.states)
        assert mcu.manifest.arena.state_bytes == padded
        assert mcu.manifest.arena.state_bytes < linux.manifest.arena.state_bytes
        for kernel in mcu.manifest.kernels:
            for output in kernel.outputs:
                assert output.offset is None or output.offset % 16 == 0


@pytest.mark.parametrize(
    ("limits", "code", "said"),
    [
        (("--flash", "1K"), 3, r"flash [\d,]+ of 1,024 bytes \(weights [\d,]+, code [\d,]+"),
        (("--ram", "1K"), 3, r"RAM [\d,]+ of 1,024 bytes before any stack \(buffers [\d,]+"),
        (("--flash", "1K", "--ram", "1K"), 3, r"flash .*; RAM .*; build with --dtype int8"),
        (("--board", "nucleo-f446re", "--flash", "2K"), 3, "does not fit board nucleo-f446re"),
        (("--board", "teensy40"), 2, r"i.MX RT1062 \(cortex-m7\), but the target is cortex-m4"),
        (("--board", "z80"), 2, r"\[--board\] must be one of .*nrf52840-dk"),
        (("--flash", "0"), 2, "a size such as 512K"),
        (("--threads", "2"), 2, "has one thread"),
    ],
)
def test_refusals_leave_everything_as_it_was(
    limits: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    require_tools()
    out = tmp_path / "model.mjb"
    out.write_bytes(b"an older bundle")
    assert main(["build", str(SMALLEST.path), "-o", str(out), "--quiet", *M4, *limits]) == code
    error = capsys.readouterr().err.strip()
    assert re.search(said, error), error
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.mjb"]
    assert out.read_bytes() == b"an older bundle"


def test_what_fits_is_recorded(tmp_path: Path) -> None:
    require_tools()
    out = tmp_path / "model.mjb"
    options = ["-o", str(out), "--quiet", *M4, "--board", "nrf52840-dk", "--ram", "100K"]
    assert main(["build", str(SMALLEST.path), *options]) == 0
    with Bundle.open(out) as bundle:
        firmware = bundle.manifest.firmware
        script = bundle.read("program/memory.ld").decode()
    assert firmware is not None
    assert firmware.limits.board == "nrf52840-dk"
    assert (firmware.limits.flash, firmware.limits.ram) == (1 << 20, 100 << 10)
    assert "MJ_FLASH_BYTES = 1048576;" in script
    assert f"MJ_MODEL_RAM_BYTES = {firmware.ram.total};" in script


@pytest.mark.parametrize("target", ["host", "cortex-a72"])
@pytest.mark.parametrize("limit", [("--flash", "1M"), ("--board", "nrf52840-dk")])
def test_linux_has_no_budget(
    target: str, limit: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["build", str(SMALLEST.path), "-o", str(tmp_path / "m.mjb"), "--quiet"]
    assert main([*arguments, "--target", target, *limit]) == 2
    assert f"but the target is {target}" in capsys.readouterr().err


def test_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["build", str(SMALLEST.path), "-o", str(tmp_path / "m.mjb"), "--quiet", *M4]
    monkeypatch.setenv("MJ_CC_ARM_NONE_EABI", "no-such-compiler -x")
    assert main(arguments) == 4
    error = capsys.readouterr().err
    assert "no program 'no-such-compiler'" in error
    assert "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi" in error
    assert list(tmp_path.iterdir()) == []
