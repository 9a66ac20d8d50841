"""Cortex-M cores as GCC names them, and the cross compiler for bare metal.

The flags go into the bundle (``manifest.firmware.flags``), so that whoever links the library (the
CMake package, the emulator's runner) uses the ones it was compiled with.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping

from millijoule.errors import DeviceError
from millijoule.targets.compilers import Toolchain
from millijoule.targets.target import Target

VARIABLE, COMPILER = "MJ_CC_ARM_NONE_EABI", "arm-none-eabi-gcc"
REMEDY = "run 'apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi'"

# A Cortex-M7 may have a single- or a double-precision unit. Kernels compute in float32, so code for
# the smaller one runs on both.
FLAGS = {
    "cortex-m3": ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"),
    "cortex-m4": ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "cortex-m7": ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
    "cortex-m55": ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
}


def find_bare_metal_compiler(target: Target, environ: Mapping[str, str] = os.environ) -> Toolchain:
    """The compiler for ``target`` with its core's flags: ``$MJ_CC_ARM_NONE_EABI``, else GCC's name.

    Raises:
        DeviceError: there is no such program; the message says what to install.
    """
    chosen = tuple(shlex.split(environ.get(VARIABLE, ""))) or (COMPILER,)
    if shutil.which(chosen[0], path=environ.get("PATH")) is None:
        raise DeviceError(
            f"[toolchain] target {target.name} needs a compiler for bare metal, but there is no"
            f" program '{chosen[0]}'; {REMEDY}, or name one in {VARIABLE}"
        )
    return Toolchain(chosen, FLAGS[target.cpu], remedy=REMEDY)


def tool(cc: Toolchain, name: str) -> Toolchain:
    """A program of the compiler's own binutils (``ar``, ``objcopy``, ``size``).

    Raises:
        DeviceError: the compiler does not know where it is, as Clang without GNU binutils.
    """
    path = cc.run([f"-print-prog-name={name}"]).strip()
    if shutil.which(path) is None:
        raise DeviceError(f"[toolchain] '{cc}' has no {name} of its own; {REMEDY}")
    return Toolchain((path,), remedy=REMEDY)
