"""CUDA C of a bundle → C++ for `emulator.h`: text in, text out."""

from __future__ import annotations

import re

__all__ = ["emulated_source", "images"]

_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b.*$", re.MULTILINE)
# functions of PTX instructions, whose meaning builtins.h has under the same name
_ASSEMBLY = re.compile(r"^[^\n;]*__device__ void mj_mma_\w+\([^)]*\)\s*\{.*?^\}\n", re.M | re.S)
_KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(")
_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+|alignas\(\d+\)\s+)?([\w ]+?)\s+(\w+)\[\];"
)
_SHARED = re.compile(r"__shared__\s+((?:__align__|alignas)\(\d+\)\s+)?")


def emulated_source(cuda: str) -> str:
    """C++ of ``cuda``, with a table of its kernels.

    Shared memory becomes static variables in a section per kernel, so that it can be overwritten
    before every block; the emulator's own header stands for everything that is included.
    """
    text = _ASSEMBLY.sub("", _INCLUDE.sub("", cuda))
    starts = list(_KERNEL.finditer(text))
    ends = [*(m.start() for m in starts), len(text)]
    parts = [text[: ends[0]]]
    for match, end in zip(starts, ends[1:], strict=True):
        parts.append(_shared(text[match.start() : end], match[1]))
    names = list(dict.fromkeys(match[1] for match in starts))
    kernels = [f"MJ_KERNEL({name})" for name in names]
    entries = [f"  MJ_ENTRY({name})," for name in names] or ["  {},"]
    table = [
        "extern const mj_kernel mj_kernels[] = {",
        *entries,
        "};",
        f"extern const unsigned mj_kernel_count = {len(names)};",
    ]
    return '#include "builtins.h"\n' + "".join(parts) + "\n" + "\n".join([*kernels, *table]) + "\n"


def _shared(text: str, kernel: str) -> str:
    """The text of one kernel with its shared memory moved."""
    text = _DYNAMIC.sub(r"\1 *\2 = (\1 *)mj_dynamic_shared;", text)
    return _SHARED.sub(lambda m: f'{m[1] or ""}static MJ_SECTION("{kernel}") ', text)


def images(sms: tuple[int, ...]) -> str:
    """C source of the array that stands for machine code."""
    rows = "".join(f'  {{{sm}, "emulated"}},\n' for sm in sms)
    return f'#include "mj_cuda.h"\nconst mj_cuda_image mj_cuda_images[] = {{\n{rows}}};\n'
