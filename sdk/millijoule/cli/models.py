"""mj models: list the models that can be built by name."""

from __future__ import annotations

import argparse
import dataclasses

from .console import Console
from .host import host_side

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``mj models`` has no options of its own."""


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the table of models."""
    with host_side():
        from ..converters import list_models

        models = [dataclasses.asdict(model) for model in list_models()]
    columns = tuple(models[0]) if models else ("name",)
    console.table(columns, [tuple(model.values()) for model in models])
    console.json(models)
    return 0
