"""mj targets: list what can be built for, and what was proved where."""

from __future__ import annotations

import argparse
import dataclasses

from .console import Console
from .host import host_side

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``mj targets`` has no options of its own."""


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the tables of targets and of boards."""
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
