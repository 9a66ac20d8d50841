"""Build the C runtime's own tests with CMake and run them, as is and under sanitizers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent  # cmake and ninja of the `dev` extra
RUNTIME = ROOT / "sdk" / "millijoule" / "runtime"


def run(*command: str | Path) -> str:
    """Run a program and return what it printed; a failure shows that."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"},
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


def launcher(scratch: Path) -> list[str]:
    """What thread-sanitized programs must be started with on this machine.

    Recent kernels randomise addresses beyond what the sanitizer of older compilers maps.
    """
    source, program = scratch / "probe.c", scratch / "probe"
    source.write_text("int main(void) { return 0; }\n")
    run("cc", "-fsanitize=thread", source, "-o", program)
    works = subprocess.run([program], capture_output=True, check=False).returncode == 0
    return [] if works else ["setarch", "-R"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-DMJ_SANITIZE=address,undefined"],
        ["-DMJ_SANITIZE=thread"],
        ["-DMJ_NO_THREADS=ON"],
        ["-DMJ_BARE_METAL=ON"],
        ["-DMJ_BARE_METAL=ON", "-DCMAKE_C_FLAGS=-DMJ_ALIGNMENT=16u -fsanitize=alignment"],
    ],
    ids=["release", "asan-ubsan", "tsan", "no-threads", "bare-metal", "less-aligned"],
)
def test_runtime_under(options: list[str], tmp_path: Path) -> None:
    run("cmake", "-S", ROOT, "-B", tmp_path, "-G", "Ninja", "-DMJ_BUILD_TESTS=ON", *options)
    run("cmake", "--build", tmp_path)
    prefix = launcher(tmp_path) if "-DMJ_SANITIZE=thread" in options else []
    report = run(*prefix, "ctest", "--test-dir", tmp_path, "--output-on-failure")
    assert report.count(" Passed ") == 4


def test_bare_metal_runtime_needs_only_memcpy_and_memset(tmp_path: Path) -> None:
    for source in sorted((RUNTIME / "src").glob("*.c")):
        run(
            *("cc", "-c", "-O2", "-std=c11", "-ffreestanding", "-DMJ_BARE_METAL"),
            *("-I", RUNTIME / "include", source, "-o", tmp_path / f"{source.stem}.o"),
        )
    objects = sorted(tmp_path.glob("*.o"))
    run("cc", "-r", "-nostdlib", *objects, "-o", tmp_path / "all.o")
    undefined = {line.split()[-1] for line in run("nm", "-u", tmp_path / "all.o").splitlines()}
    assert undefined - {"_GLOBAL_OFFSET_TABLE_"} == {"memcpy", "memset"}


@pytest.mark.parametrize("variant", ["plain", "streaming"])
def test_profiling_code_is_left_out_without_hooks(variant: str, tmp_path: Path) -> None:
    tiny = ROOT / "tests" / "fixtures" / "tiny_model"
    sizes = []
    for flags in ([], ["-DMJ_NO_HOOKS"]):
        compiled = tmp_path / "entry.o"
        run(
            *("cc", "-c", "-Os", "-std=c11", "-Wall", "-Wextra", "-Werror", *flags),
            *("-I", RUNTIME / "include", tiny / f"{variant}.c", "-o", compiled),
        )
        sizes.append(int(run("size", compiled).splitlines()[1].split()[0]))
    assert sizes[1] < sizes[0]


def test_headers_are_valid_cpp(tmp_path: Path) -> None:
    unit = tmp_path / "unit.cpp"
    names = ("millijoule.h", "mj_backend.h", "mj_logmel.h", "mj_board.h", "semihosting.h")
    unit.write_text("".join(f'#include "{name}"\n' for name in names))
    run(
        *("cc", "-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"),
        *(f"-I{RUNTIME / folder}" for folder in ("include", "audio", "boards")),
        unit,
    )
