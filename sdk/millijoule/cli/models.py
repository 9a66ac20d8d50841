"""mj models: list the models that can be built by name."""

from __future__ import annotations

import argparse

from .console import Console
from .host import host_side

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``mj models`` has no options of its own."""


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the table of models."""
    with host_side():
        from ..converters import list_models

        models = list_models()
    console.table(
        ("name", "kind", "variants", "note"),
        [(m["name"], m["kind"], ", ".join(m["variants"]), m["note"]) for m in models],
    )
    console.json(models)
    return 0
