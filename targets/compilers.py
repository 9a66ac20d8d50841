"""Which C compiler builds for a target: the host's own, or one that crosses to ARM Linux.

For a target that is not this machine, the first of these that exists:

1. ``$MJ_CC_AARCH64`` / ``$MJ_CC_ARMV7`` / ``$MJ_CC_X86_64``: a command that the user names;
2. the pip package ``ziglang``, which brings Clang, a linker and every libc, and runs on any host;
3. the distribution's cross compiler, e.g. ``aarch64-linux-gnu-gcc``.

Programs of ``ziglang`` ask for glibc 2.28 (2018) or newer, whatever the machine that builds has.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from millijoule import cpu
from millijoule.errors import DeviceError
from millijoule.targets.target import Target

_NATIVE = ("cc", "gcc", "clang")
_ZIG = (sys.executable, "-m", "ziglang", "cc")
_GLIBC = "2.28"  # of Debian 10, RHEL 8 and every later system


@dataclass(frozen=True)
class _Cross:
    """How compilers name an architecture: zig's target, GCC's prefix and its Debian package."""

    zig: str
    gcc: str
    package: str
    flags: tuple[str, ...] = ()


_CROSS = {
    "aarch64": _Cross(f"aarch64-linux-gnu.{_GLIBC}", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu"),
    "armv7": _Cross(
        f"arm-linux-gnueabihf.{_GLIBC}",
        "arm-linux-gnueabihf-gcc",
        "arm-linux-gnueabihf",
        ("-mfpu=neon-vfpv4", "-mfloat-abi=hard"),
    ),
    "x86_64": _Cross(f"x86_64-linux-gnu.{_GLIBC}", "x86_64-linux-gnu-gcc", "x86-64-linux-gnu"),
}


@dataclass(frozen=True)
class Toolchain:
    """A C compiler driver.

    Args:
        command: the program and its leading arguments, e.g. ``("gcc",)`` or
            ``(sys.executable, "-m", "ziglang", "cc")``.
        flags: added to every compilation and link, e.g. ``("-mcpu=cortex-a72",)``.
        environment: variables to set for it.
        remedy: what to do if it cannot be run, for the error message.
    """

    command: tuple[str, ...]
    flags: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    remedy: str = "set CC to a working one"

    def __str__(self) -> str:
        return shlex.join(self.command + self.flags)

    def run(self, arguments: Sequence[str]) -> str:
        """Run the compiler and return its standard output.

        Raises:
            DeviceError: it cannot be started, or it failed; the message holds its first error line.
        """
        try:
            done = subprocess.run(
                [*self.command, *self.flags, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, **dict(self.environment), "LC_ALL": "C"},
                check=False,
            )
        except OSError as error:
            raise DeviceError(
                f"[toolchain] cannot run the C compiler '{self}': {error.strerror}; {self.remedy}"
            ) from error
        if done.returncode != 0:
            raise DeviceError(
                f"[toolchain] '{self}' failed with exit code {done.returncode}: "
                f"{_first_error(done.stderr)}"
            )
        return done.stdout


def _first_error(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = (line for line in lines if "error:" in line or "undefined " in line)
    return next(telling, lines[0] if lines else "it printed nothing")


def find_compiler(
    target: Target | None = None, environ: Mapping[str, str] = os.environ
) -> Toolchain:
    """The C compiler for Linux programs of ``target``; None: for this machine.

    For this machine ``$CC``, else cc, gcc, clang, else ``ziglang``; for another architecture see
    the top of this file.

    Raises:
        DeviceError: a variable names no program, or there is no compiler; the message says what to
            install.
    """
    if target is None or _is_native(target):
        return _native(environ)
    return _cross(target, environ)


def _is_native(target: Target) -> bool:
    return platform.system() == "Linux" and cpu.same_architecture(target.triple)


def _native(environ: Mapping[str, str]) -> Toolchain:
    named = _named("CC", environ)
    if named is not None:
        return named
    for name in _NATIVE:
        if shutil.which(name, path=environ.get("PATH")) is not None:
            return Toolchain((name,))
    if _has_ziglang():
        return Toolchain(_ZIG, environment=_zig_caches(environ))
    raise DeviceError(
        "[toolchain] building a model needs a C compiler, but none of CC, cc, gcc, clang was "
        "found; run 'apt-get install gcc' or 'pip install ziglang'"
    )


def _cross(target: Target, environ: Mapping[str, str]) -> Toolchain:
    arch = cpu.architecture_of(target.triple)
    names = _CROSS.get(arch)
    if names is None:
        raise DeviceError(
            f"[toolchain] target {target.name} is bare metal or unknown ({target.triple}); Linux"
            f" programs are linked for {', '.join(_CROSS)} only"
        )
    variable = f"MJ_CC_{arch.upper()}"
    named = _named(variable, environ)
    if named is not None:
        return named
    if _has_ziglang():
        zig_cpu = target.cpu.replace("-", "_")  # zig writes x86_64_v3, cortex_a72
        return Toolchain(
            _ZIG, ("-target", names.zig, f"-mcpu={zig_cpu}"), _zig_caches(environ), _install(names)
        )
    if shutil.which(names.gcc, path=environ.get("PATH")) is not None:
        option = "-march" if arch == "x86_64" else "-mcpu"
        flags = (f"{option}={target.cpu}", *names.flags)
        return Toolchain((names.gcc,), flags, remedy=_install(names))
    raise DeviceError(
        f"[toolchain] target {target.name} needs a cross compiler for {arch}, but neither"
        f" {variable}, ziglang nor {names.gcc} was found; {_install(names)}"
    )


def _install(names: _Cross) -> str:
    return f"run 'pip install ziglang' or 'apt-get install gcc-{names.package}'"


def _named(variable: str, environ: Mapping[str, str]) -> Toolchain | None:
    """The compiler command in an environment variable, as it stands; None if there is none."""
    chosen = shlex.split(environ.get(variable, ""))
    if not chosen:
        return None
    if shutil.which(chosen[0], path=environ.get("PATH")) is None:
        raise DeviceError(
            f"[toolchain] {variable} must name a C compiler, but there is no program '{chosen[0]}';"
            f" correct {variable} or unset it"
        )
    return Toolchain(tuple(chosen), remedy=f"set {variable} to a working one")


def _has_ziglang() -> bool:
    return importlib.util.find_spec("ziglang") is not None


def _zig_caches(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Where zig keeps the libc parts that it compiles on first use; it cannot run without."""
    folder = environ.get("ZIG_GLOBAL_CACHE_DIR") or _cache_folder(
        environ.get("XDG_CACHE_HOME"), environ.get("HOME")
    )
    local = environ.get("ZIG_LOCAL_CACHE_DIR") or folder
    return (("ZIG_GLOBAL_CACHE_DIR", folder), ("ZIG_LOCAL_CACHE_DIR", local))


@cache
def _cache_folder(xdg: str | None, home: str | None) -> str:
    """zig's usual cache if it can be written, else a folder that goes when this process does."""
    parent = Path(xdg) if xdg else Path(home) / ".cache" if home else None
    if parent is not None:
        folder = parent / "zig"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return str(folder)
        except OSError:  # read-only home, or none of this user's
            pass
    temporary = tempfile.mkdtemp(prefix="millijoule-zig-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    return temporary


@cache
def version(cc: Toolchain) -> str:
    """The compiler's own first line about itself, e.g. ``gcc (Debian 12.2.0-14) 12.2.0``.

    zig's is Clang's, so its own version comes first: ``zig 0.17.1, clang version 22.1.8``.

    Raises:
        DeviceError: the compiler cannot be run.
    """
    line = cc.run(["--version"]).partition("\n")[0].strip()
    if cc.command != _ZIG:
        return line
    zig = Toolchain(_ZIG[:-1], environment=cc.environment, remedy=cc.remedy).run(["version"])
    return f"zig {zig.strip()}, {line}"
