"""mj export: write a program for microcontrollers as a CMake package."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..bundle import Bundle
from .console import Console
from .options import add_bundle

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mj export``."""
    add_bundle(parser)
    parser.add_argument(
        "-o", "--out", metavar="DIR", help="folder to write (default: the bundle's name)"
    )
    parser.add_argument(
        "--weights",
        choices=("asm", "c"),
        default="asm",
        help="include weights.bin by the assembler, or as an array in C (default: asm)",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Write the package, and say how to use it."""
    from ..export import export_package

    out = arguments.out or Path(arguments.bundle).stem
    with Bundle.open(arguments.bundle) as bundle:
        manifest = bundle.manifest
        folder = export_package(bundle, out, arguments.weights)
    files = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    console.text(f"{out}: {manifest.model.name} for {manifest.target.name}, {len(files)} files")
    console.text(
        f"find_package(millijoule REQUIRED CONFIG PATHS {folder} NO_DEFAULT_PATH), then link"
        " millijoule::model"
    )
    console.json({"path": str(folder), "files": files})
    return 0
