"""mj targets: list what can be built for, and what was proved where."""

from __future__ import annotations

import argparse

from .console import Console
from .host import host_side

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``mj targets`` has no options of its own."""


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the table of targets."""
    with host_side():
        from ..targets import list_targets

        targets = list_targets()
    columns = ("name", "kind", "triple", "cpu", "proved", "note")
    rows = [tuple(getattr(target, column) for column in columns) for target in targets]
    console.table(("target", *columns[1:]), rows)
    console.json([dict(zip(columns, row, strict=True)) for row in rows])
    return 0
