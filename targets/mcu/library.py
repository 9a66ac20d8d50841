"""Kernels, entry and C runtime → ``libmodel.a``, the same bytes for the same inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from millijoule.targets.compilers import Toolchain
from millijoule.targets.mcu.cores import tool
from millijoule.targets.toolchain import runtime_include, runtime_sources

_COMPILE_FLAGS = (
    "-std=c11",
    "-O2",
    "-ffunction-sections",
    "-fdata-sections",
    "-Wall",
    "-Werror=implicit-function-declaration",
)


def definitions(alignment: int, tensors: int) -> tuple[str, ...]:
    """Macros that every C file of the model is compiled with.

    Args:
        alignment: MJ_ALIGNMENT.
        tensors: how many inputs (or outputs) and states a run passes: pointers on the stack.
    """
    return (
        "-DMJ_BARE_METAL=1",
        f"-DMJ_ALIGNMENT={alignment}u",
        f"-DMJ_MAX_TENSORS={tensors}u",
    )


def archive(
    objects: Iterable[Path], sources: Iterable[Path], out: Path, cc: Toolchain, flags: Sequence[str]
) -> Path:
    """Compile ``sources`` and the runtime with ``flags``, and archive them with ``objects``.

    Raises:
        DeviceError: a tool is missing or failed.
    """
    folder = out.parent
    members = list(objects)
    for source in (*sources, *runtime_sources()):
        member = folder / f"{source.stem}.o"
        maps = [f"-ffile-prefix-map={place}=." for place in (source.parent, runtime_include())]
        cc.run(
            [*_COMPILE_FLAGS, *flags, *maps, f"-I{runtime_include()}", "-c", str(source)]
            + ["-o", str(member)]
        )
        members.append(member)
    scratch = out.with_suffix(".tmp")
    scratch.unlink(missing_ok=True)  # `r` would keep members of an older archive
    tool(cc, "ar").run(["rcsD", str(scratch), *map(str, members)])  # D: no dates, no owners
    os.replace(scratch, out)
    return out


def strip_kernels(kernels: Path, cc: Toolchain) -> None:
    """Drop debug data and unwind tables, which would pull an unwinder into the firmware."""
    tables = [f"--remove-section={s}*" for s in (".ARM.exidx", ".ARM.extab", ".rel.ARM.exidx")]
    arguments = ["--enable-deterministic-archives", "--strip-debug", *tables]
    arguments += ["--strip-symbol=__aeabi_unwind_cpp_pr0", str(kernels)]
    tool(cc, "objcopy").run(arguments)
