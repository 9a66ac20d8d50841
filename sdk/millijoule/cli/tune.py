"""mj tune: search faster schedules for the functions of a model that have no kernel of ours."""

from __future__ import annotations

import argparse
import dataclasses
import warnings

from .console import Console
from .host import host_side
from .options import npz_arrays, positive

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mj tune``."""
    parser.add_argument("source", metavar="SOURCE", help="what `mj build` takes")
    parser.add_argument(
        "--tuning-db",
        required=True,
        metavar="DIR",
        help="folder of the records, made if it is not there; what it holds of others stays",
    )
    parser.add_argument("--target", default="host", help="a CPU whose programs run here")
    parser.add_argument("--trials", type=positive, default=64, metavar="N", help="per function")
    parser.add_argument("--seed", type=positive, default=1, metavar="N", help="of the search")
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="rows per call")
    parser.add_argument("--dtype", choices=("float32", "int8"), default="float32")
    parser.add_argument("--streaming", action="store_true", help="one step (frame) per call")
    for name in ("calibrate", "examples"):
        parser.add_argument(f"--{name}", metavar="FILE", help="as for `mj build`")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Tune, and print the rule's time beside the record's for every function."""
    calibration = npz_arrays("calibrate", arguments.calibrate)
    examples = npz_arrays("examples", arguments.examples)
    folder = arguments.tuning_db
    with console.progress() as report, host_side(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # meant for developers of torch and TVM
        from ..converters import convert
        from ..targets.quantization import quantize
        from ..targets.tuning.tune import check_tunable, tune

        check_tunable(arguments.target, folder)
        report(f"converting {arguments.source}")
        model = convert(
            arguments.source,
            streaming=arguments.streaming,
            batch=arguments.batch,
            dtype=arguments.dtype,
            example_inputs=examples,
        )
        if arguments.dtype == "int8" and model.quantization is None:
            model = quantize(model, calibration, report)
        found = tune(
            model,
            arguments.target,
            folder,
            trials=arguments.trials,
            seed=arguments.seed,
            progress=report,
        )
    if not found:
        console.text(f"{model.name}: nothing to tune, every function has a kernel of ours")
    else:
        rows = [(t.function, t.calls, t.rule_us, t.tuned_us, t.speedup, t.verdict) for t in found]
        columns = ("function", "calls", "rule µs", "tuned µs", "speed", "record")
        console.table(columns, rows)
        kept = sum(t.kept for t in found)
        console.text(f"{folder}: {kept} of {len(found)} functions have a record that is faster")
    console.json({"tuning_db": folder, "functions": [dataclasses.asdict(t) for t in found]})
    return 0
