"""mj targets: list what can be built for, what was proved where, and how near to its reference."""

from __future__ import annotations

import argparse
import dataclasses

from .console import Console
from .host import host_side

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mj targets``."""
    parser.add_argument(
        "--ops",
        metavar="NAME",
        help="list the operators of a target, or of a front end: torch, onnx, tflite",
    )
    parser.add_argument(
        "--matrix",
        action="store_true",
        help="list every family on every target: what verified it, and its largest error",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the tables of targets and of boards, or one of operators."""
    if arguments.ops is not None:
        return _operators(arguments.ops, console)
    if arguments.matrix:
        return _matrix(console)
    with host_side():
        from ..targets import list_boards, list_targets

        targets, boards = list_targets(), list_boards()
    columns = ("name", "kind", "triple", "cpu", "proved", "note")
    rows = [tuple(getattr(target, column) for column in columns) for target in targets]
    console.table(("target", *columns[1:]), rows)
    console.text()
    console.table(
        ("board", "part", "target", "flash KB", "RAM KB", "note", "source"),
        [(b.name, b.part, b.target, b.flash >> 10, b.ram >> 10, b.note, b.source) for b in boards],
    )
    listed = [
        {
            **dict(zip(columns, row, strict=True)),
            "boards": [dataclasses.asdict(b) for b in boards if b.target == row[0]],
        }
        for row in rows
    ]
    console.json(listed)
    return 0


def _operators(name: str, console: Console) -> int:
    """Print the operators of a target or front end."""
    with host_side():
        from ..converters.support import DOORS, door_operators
        from ..targets.support import operators

        if name in DOORS:
            rows = [(e.operator, e.support, e.note) for e in door_operators(name)]
        else:
            rows = [(op, support, "") for op, support in operators(name).items()]
    columns = ("operator", "support", "note")
    console.table(columns, rows)
    console.json([dict(zip(columns, row, strict=True)) for row in rows])
    return 0


def _matrix(console: Console) -> int:
    """Print a table of families and targets for whole sequences, and one for streams."""
    with host_side():
        from ..targets import list_targets
        from ..targets.matrix import STREAMING, WHOLE, read_matrix

        targets = [target.name for target in list_targets()]
        matrix = read_matrix()
    for form in (WHOLE, STREAMING):
        rows = [row for row in matrix.rows if row.form == form]
        table = []
        for target in targets:
            cells = [matrix.cells.get((row.name, row.form, target)) for row in rows]
            devices = sorted({cell.device for cell in cells if cell and cell.device})
            shown = [cell.text if cell else "not measured" for cell in cells]
            table.append((target, ", ".join(devices) or "nothing here", *shown))
        console.table(("target", "verified by", *(row.name for row in rows)), table, form)
        console.text()
    console.text(
        "float32; figures: largest absolute error of an output from its reference, with every"
        " spike, attention map and integer equal"
    )
    for cell in matrix.cells.values():
        if cell.reason and cell.target in targets:
            console.text(f"{cell.row} ({cell.form}) on {cell.target}: {cell.status}: {cell.reason}")
    console.json(
        {
            "rows": [dataclasses.asdict(row) for row in matrix.rows],
            "cells": [dataclasses.asdict(cell) for cell in matrix.cells.values()],
        }
    )
    return 0
