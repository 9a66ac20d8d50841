"""Writing the program of a bundle as a CMake package that firmware projects link.

    DIR/millijouleConfig.cmake    find_package(millijoule): the target millijoule::model
        cmake/arm-none-eabi.cmake toolchain file with the flags of the core
        include/                  model.h, millijoule.h, the front end's headers
        lib/libmodel.a            … or src/, the C sources of a bundle built with `--emit c`
        weights/                  weights.bin, and weights.S that puts it into flash
        audio/                    the front end's sources, if the model listens
        boards/                   start-up code and linker scripts of emulated boards
        memory.ld, manifest.json  what the program takes; everything about it

Needs the standard library only.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from ..bundle import MANIFEST, STATIC_LIBRARY, Bundle, Manifest
from ..errors import UnsupportedError, UsageError

__all__ = ["PACKAGE_FILE", "export_package"]

#: What ``find_package(millijoule)`` looks for.
PACKAGE_FILE = "millijouleConfig.cmake"

_TEMPLATES = Path(__file__).parent
_BOARDS = _TEMPLATES.parent / "runtime" / "boards"
_FRONTEND = ("frontend.c", "mj_logmel.c")
_PUBLIC = ("millijoule.h", "mj_logmel.h", "frontend.h", "model.h")


def export_package(bundle: Bundle, out: str | os.PathLike[str]) -> Path:
    """Write the CMake package of ``bundle`` to the folder ``out``, whole or not at all.

    A folder that an earlier export wrote is replaced.

    Raises:
        UnsupportedError: a program that is not for bare metal.
        UsageError: ``out`` is something else, or cannot be written.
    """
    manifest = bundle.manifest
    if manifest.program.kind != STATIC_LIBRARY:
        raise UnsupportedError(
            f"{bundle.path}: only programs for microcontrollers are exported, but the target is"
            f" {manifest.target.name}; build with --target cortex-m4, for example"
        )
    folder = Path(out).absolute()
    _check_free(folder)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
    try:
        package = scratch / "new"
        _write(bundle, package)
        if folder.exists():
            os.replace(folder, scratch / "old")
        os.replace(package, folder)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _check_free(folder: Path) -> None:
    if folder.is_dir() and not (folder / PACKAGE_FILE).is_file() and any(folder.iterdir()):
        raise UsageError(
            f"cannot write {folder}: it holds files that `mj export` did not write; name another"
            " folder or empty it"
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"cannot write {folder}: it is not a folder")


def _write(bundle: Bundle, package: Path) -> None:
    sources, libraries = ["weights/weights.S"], []
    for member in bundle.names():
        place = _place(member)
        if place is None:
            continue
        path = package / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bundle.read(member))
        if path.suffix == ".c":
            sources.append(place)
        elif path.suffix == ".a":
            libraries.append(f"${{_mj_dir}}/{place}")
    shutil.copytree(_BOARDS, package / "boards")
    values = _values(bundle.manifest)
    values["SOURCES"] = " ".join(sources)
    values["LIBRARIES"] = " ".join([*libraries, "m"])
    (package / "cmake").mkdir()
    _fill(PACKAGE_FILE, package / PACKAGE_FILE, values)
    _fill("arm-none-eabi.cmake", package / "cmake" / "arm-none-eabi.cmake", values)


def _place(member: str) -> str | None:
    """Where in the package a member of the bundle goes; None: nowhere."""
    folder, _, name = member.rpartition("/")
    if member == MANIFEST:
        return name
    if not folder.startswith("program"):
        return None
    if name in _PUBLIC:
        return f"include/{name}"
    if folder == "program/src":
        return f"src/{name}"
    if name.startswith("weights."):
        return f"weights/{name}"
    if name in _FRONTEND:
        return f"audio/{name}"
    return f"lib/{name}" if name.endswith(".a") else name


def _values(manifest: Manifest) -> dict[str, str]:
    """What the templates say of the model; texts of the manifest are made harmless first."""
    firmware = manifest.firmware
    assert firmware is not None  # static libraries have it
    name = _word(manifest.model.name)
    return {
        "NAME": name,
        "CPU": _word(manifest.target.cpu),
        "TITLE": f"{name} for {_word(manifest.target.name)}",
        "FLAGS": " ".join(firmware.flags),  # machine options only, as the reader has checked
    }


def _word(text: str) -> str:
    """``text`` as one word that means nothing to CMake."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "model"


def _fill(template: str, path: Path, values: dict[str, str]) -> None:
    text = (_TEMPLATES / f"{template}.in").read_text()
    path.write_text(re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], text))
