"""mj check: say whether a target can hold a model, operator by operator, without building it."""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from typing import Any

from ..errors import UnsupportedError
from .console import Console
from .host import host_side
from .options import npz_arrays, positive

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mj check``."""
    parser.add_argument("source", metavar="SOURCE", help="what `mj build` takes")
    parser.add_argument("--target", default="host", help="what it would be built for")
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="rows per call")
    parser.add_argument("--streaming", action="store_true", help="one step (frame) per call")
    parser.add_argument(
        "--examples", metavar="FILE", help="inputs of an .onnx or .tflite file, as .npz"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print every operator with what the target has for it; exit code 3 if one is missing."""
    examples = npz_arrays("examples", arguments.examples)
    with host_side(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # meant for developers of torch and TVM
        from ..targets import get_target

        get_target(arguments.target)
        result = _check(arguments, examples)
    uses, problems = result["operators"], result["problems"]
    if uses:
        console.table(
            ("operator", "calls", "support"),
            [(u["operator"], u["count"], u["support"]) for u in uses],
        )
        console.text()
    if problems:
        console.table(
            ("not supported", "where", "why"),
            [(p["operator"], p["where"], p["reason"] or "no conversion") for p in problems],
        )
        console.text(f"{arguments.source} cannot be built for {arguments.target}")
    else:
        console.text(
            f"{arguments.source} can be built for {arguments.target}: {result['kernels']} kernels,"
            f" {result['unscheduled']} of them generated without a schedule of ours"
            if result["kernels"]
            else f"{arguments.source} can be built for {arguments.target}"
        )
    console.json({"source": arguments.source, "target": arguments.target, **result})
    return UnsupportedError.exit_code if problems else 0


def _check(arguments: argparse.Namespace, examples: dict[str, Any] | None) -> dict[str, Any]:
    """Operators, problems and numbers of kernels; what cannot even be imported is a problem."""
    from ..converters import convert
    from ..converters.problems import OperatorsUnsupportedError, Problem
    from ..targets.support import Check, check_model

    try:
        model = convert(
            arguments.source,
            streaming=arguments.streaming,
            batch=arguments.batch,
            example_inputs=examples,
        )
        found = check_model(model, arguments.target)
    except OperatorsUnsupportedError as error:
        found = Check(problems=list(error.problems))
    except UnsupportedError as error:
        found = Check(problems=[Problem("model", arguments.source, str(error))])
    return {
        "supported": not found.problems,
        "operators": [dataclasses.asdict(u) for u in found.uses],
        "problems": [dataclasses.asdict(p) for p in found.problems],
        "kernels": found.kernels,
        "unscheduled": found.unscheduled,
    }
