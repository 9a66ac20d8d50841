"""mj doctor: check what works on this machine, and say how to get the rest."""

from __future__ import annotations

import argparse
import dataclasses

from .console import Console

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``mj doctor`` has no options of its own."""


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print a line per finding, with a remedy where something is missing."""
    from ..doctor import diagnose

    findings = diagnose()
    for finding in findings:
        console.text(f"{'ok     ' if finding.ok else 'missing'}  {finding.name}: {finding.detail}")
        if finding.remedy:
            console.text(f"         → {finding.remedy}")
    console.json([dataclasses.asdict(finding) for finding in findings])
    return 0
