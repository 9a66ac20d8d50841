"""mj verify: compare a program's outputs with those its bundle expects."""

from __future__ import annotations

import argparse
import math

from ..errors import VerificationError
from ..session import load
from ..shapes import size_text
from ..verification import Check, verify
from .console import Console
from .options import add_bundle, add_device, add_threads

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mj verify``."""
    add_bundle(parser)
    add_threads(parser)
    add_device(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Verify, print a line per output, fail if one differs."""
    with load(arguments.bundle, arguments.threads, arguments.device) as session:
        checks = verify(session)
        plugins = getattr(session.program, "plugins", "")
    if plugins:
        console.text(f"plugins: {plugins}")
    columns: tuple[str, ...] = ("output", "shape", "max abs error", "tolerance", "beyond", "result")
    rows = [_row(check) for check in checks]
    if any(check.sizes for check in checks):
        columns = ("sizes", *columns)
        rows = [(size_text(c.sizes), *row) for c, row in zip(checks, rows, strict=True)]
    console.table(columns, rows)
    failed = [check for check in checks if not check.passed]
    console.json({"passed": not failed, "outputs": [_as_json(check) for check in checks]})
    if failed:
        worst = max(failed, key=lambda check: check.max_abs_error)
        reason = worst.remark or f"differs by {worst.max_abs_error:.3g} (≤ {worst.tolerance:.3g})"
        raise VerificationError(
            f"{arguments.bundle}: {len(failed)} of {len(checks)} outputs differ from the expected"
            f" ones, {worst.name!r} most: {reason}"
        )
    return 0


def _row(check: Check) -> tuple[object, ...]:
    result = "pass" if check.passed else f"FAIL {check.remark}".rstrip()
    tolerance: object = check.tolerance or "exact"
    shape = str(list(check.shape))
    return check.name, shape, check.max_abs_error, tolerance, check.mismatches, result


def _as_json(check: Check) -> dict[str, object]:
    error = check.max_abs_error
    return {
        "name": check.name,
        "shape": list(check.shape),
        "sizes": check.sizes,
        "max_abs_error": error if math.isfinite(error) else None,
        "tolerance": check.tolerance,
        "mismatches": check.mismatches,
        "passed": check.passed,
        "remark": check.remark,
    }
