"""Linking kernels, generated code and the C runtime into ``libmodel.so``.

A `Toolchain` is a command line and nothing else, so a cross compiler is one more value of it::

    Toolchain(("aarch64-linux-gnu-gcc",), flags=("-mcpu=cortex-a72",))

Links are reproducible: the same inputs give the same bytes in any directory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import millijoule
from millijoule.targets.compilers import Toolchain, find_compiler, version

__all__ = [
    "Toolchain",
    "find_compiler",
    "link_shared",
    "runtime_include",
    "runtime_sources",
    "version",
]

# Only the C API leaves the library: a kernel can neither clash with nor be replaced by another's.
_EXPORTS = "{ global: mj_*; local: *; };\n"

_COMPILE_FLAGS = (
    "-std=c11",
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffunction-sections",
    "-fdata-sections",
    "-pthread",
    "-Wall",
    "-Werror=implicit-function-declaration",
)
_LINK_FLAGS = (
    "-shared",
    "-s",
    "-Wl,--build-id=none",
    "-Wl,--gc-sections",
    "-Wl,--no-undefined",  # a symbol that the device lacks is found here, not there
    "-Wl,-z,noexecstack",  # TVM's objects do not say that they need no executable stack
    "-Wl,-soname,libmodel.so",
)


def runtime_include() -> Path:
    """The folder of ``millijoule.h``, ``mj_generated.h`` and ``mj_backend.h``."""
    return _runtime() / "include"


def runtime_sources() -> list[Path]:
    """The C runtime's source files, to be compiled into every program."""
    return sorted((_runtime() / "src").glob("*.c"))


def cuda_sources() -> list[Path]:
    """Source files of the launcher, to be compiled into programs for NVIDIA GPUs besides."""
    return sorted(cuda_include().glob("*.c"))


def cuda_include() -> Path:
    """The folder of ``mj_cuda.h``; its sources want ``runtime_internal()``, too."""
    return _runtime() / "cuda"


def runtime_internal() -> Path:
    """The folder of headers that only the runtime's own files include."""
    return _runtime() / "src"


def _runtime() -> Path:
    return Path(millijoule.__file__).parent / "runtime"


def link_shared(
    objects: Iterable[str | Path],
    c_sources: Iterable[str | Path],
    include_dirs: Iterable[str | Path],
    out: str | Path,
    cc: Toolchain | None = None,
    extra_flags: Sequence[str] = (),
) -> Path:
    """Compile `c_sources` and link them with `objects` into the shared library `out`.

    The library exports what is named ``mj_*`` and declared in ``millijoule.h``, is stripped, and is
    the same byte for byte wherever the inputs lie. `out` appears whole or not at all.

    Args:
        objects: object files, e.g. TVM's kernels (position-independent).
        c_sources: C11 files; for a model, the generated entry and `runtime_sources()`.
        include_dirs: folders for ``#include``; for a model, `runtime_include()`.
        out: the library to write.
        cc: compiler to use (default: this machine's, `find_compiler()`).
        extra_flags: more compiler or linker flags, after ours.

    Returns:
        `out` as a path.

    Raises:
        DeviceError: no compiler, or it failed (with its first error line).
    """
    cc = cc or find_compiler()
    out = Path(out)
    sources = [Path(source).resolve() for source in c_sources]
    includes = [Path(folder).resolve() for folder in include_dirs]
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        exports = Path(scratch) / "exports.map"
        exports.write_text(_EXPORTS)
        linked = Path(scratch) / out.name
        cc.run(
            [
                *_COMPILE_FLAGS,
                *_path_maps([*(source.parent for source in sources), *includes]),
                *(f"-I{folder}" for folder in includes),
                *map(str, sources),
                *(str(Path(item).resolve()) for item in objects),
                *_LINK_FLAGS,
                f"-Wl,--version-script={exports}",
                "-lm",
                *extra_flags,
                "-o",
                str(linked),
            ]
        )
        os.replace(linked, out)
    return out


def _path_maps(folders: Iterable[Path]) -> list[str]:
    """Flags that keep folder names out of ``__FILE__`` and debug data."""
    return [f"-ffile-prefix-map={folder}=." for folder in dict.fromkeys(folders)]
