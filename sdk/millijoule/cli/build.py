"""mj build: compile a model into a bundle for a target."""

from __future__ import annotations

import argparse
import os
import re
import warnings
from pathlib import Path
from typing import Any

from ..bundle import RUNTIMES
from ..errors import UsageError
from ..sizes import Dim
from .console import Console
from .host import host_side
from .options import byte_count, dimension, npz_arrays, positive

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mj build``."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a model folder (config.json and weights), a zoo name (`mj models`),"
        " module.py:function, or an .onnx, .tflite or .nir file",
    )
    parser.add_argument("--target", default="host", help="what to build for (`mj targets`)")
    parser.add_argument("-o", "--out", metavar="FILE", help="bundle to write (default: NAME.mjb)")
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="rows per call")
    parser.add_argument(
        "--batches",
        type=_batches,
        metavar="1,8,32",
        help="for tensorrt: least, usual and largest batch of one engine",
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "int8"), default="float32", help="arithmetic"
    )
    parser.add_argument("--streaming", action="store_true", help="one step (frame) per call")
    parser.add_argument(
        "--emit",
        choices=("object", "c"),
        default="object",
        help="machine code, or C sources for a microcontroller vendor's compiler",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads to run with")
    parser.add_argument(
        "--split",
        choices=RUNTIMES,
        help="for Jetson: write dense regions as graphs for this runtime besides",
    )
    parser.add_argument(
        "--plugins",
        action="store_true",
        help="for tensorrt: kernels of ours for binary and spiking layers, and the plain graph",
    )
    parser.add_argument(
        "--calibrate", metavar="FILE", help="inputs to choose int8 scales with, as .npz"
    )
    parser.add_argument(
        "--examples",
        metavar="FILE",
        help="inputs of an .onnx or .tflite file, as .npz: their sizes are built for",
    )
    parser.add_argument(
        "--dim",
        type=dimension,
        action="append",
        metavar="NAME=MIN..MAX[@INPUT:AXIS,…]",
        help="let a size vary: of a dimension that the source names, or of these axes of inputs",
    )
    parser.add_argument(
        "--tuning-db",
        metavar="DIR",
        help="for CPUs: take schedules from the tuning records in this folder (`mj tune`)",
    )
    parser.add_argument("--board", help="refuse what this microcontroller board cannot hold")
    parser.add_argument(
        "--flash", type=byte_count, metavar="512K", help="refuse what needs more flash"
    )
    parser.add_argument("--ram", type=byte_count, metavar="128K", help="refuse what needs more RAM")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Convert, build, and say what was written."""
    out = _check_out(arguments.out) if arguments.out else None
    calibration = npz_arrays("calibrate", arguments.calibrate)
    examples = npz_arrays("examples", arguments.examples)
    budget = {name: getattr(arguments, name) for name in ("board", "flash", "ram")}
    with console.progress() as report, host_side(), warnings.catch_warnings():
        # Meant for the developers of torch and TVM; noise around the one line that matters here.
        warnings.simplefilter("ignore", FutureWarning)
        from ..converters import convert
        from ..targets import build, check_limits, check_plugins, check_tuning, get_target

        get_target(arguments.target)  # an unknown one is refused before minutes of converting
        check_limits(arguments.target, **budget)
        ranges = _ranges(arguments)
        check_plugins(arguments.target, arguments.plugins, arguments.dtype, arguments.batches)
        check_tuning(arguments.target, arguments.tuning_db, arguments.dtype)
        report(f"converting {arguments.source}")
        model = convert(
            arguments.source,
            streaming=arguments.streaming,
            batch=arguments.batches[1] if arguments.batches else arguments.batch,
            dtype=arguments.dtype,
            example_inputs=examples,
            dynamic=dynamic_of(arguments.dim or []),
        )
        out = out or _default_out(model.name)
        bundle = build(
            model,
            target=arguments.target,
            out=out,
            threads=arguments.threads,
            emit=arguments.emit,
            dtype=arguments.dtype,
            calibration=calibration,
            split=arguments.split,
            plugins=arguments.plugins,
            tuning_db=arguments.tuning_db,
            **budget,
            **ranges,
            progress=report,
        )
    with bundle:
        manifest = bundle.manifest
        size = Path(out).stat().st_size
        console.text(
            f"{out}: {manifest.model.name} for {manifest.target.name}"
            f" ({manifest.target.cpu}), {manifest.model.parameters:,} parameters,"
            f" {len(manifest.kernels)} kernels, arena {manifest.arena.bytes:,} bytes,"
            f" file {size:,} bytes"
        )
        _say_calibration(console, manifest.quantization)
        _say_tuning(console, manifest.toolchain.get("tuning"))
        if manifest.firmware is not None:
            flash, ram = manifest.firmware.flash, manifest.firmware.ram
            console.text(
                f"flash {flash.total:,} bytes (weights {flash.weights:,}, code {flash.code:,}),"
                f" RAM {ram.total:,} bytes and the stack"
            )
        console.json({"path": str(out), "bytes": size, "manifest": manifest.to_json()})
    return 0


def dynamic_of(given: list[tuple[Dim, list[tuple[str, int]]]]) -> Any:
    """What ``convert(dynamic=…)`` takes, from the options ``--dim``; None without any."""
    if not given:
        return None
    from ..converters.dynamic import Dynamic

    names = [dim.name for dim, _ in given]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--dim {name} is given twice; list all its axes behind one @")
    places = {place: dim for dim, where in given for place in where}
    return Dynamic(places, {dim.name: dim for dim, where in given if not where})


def _say_calibration(console: Console, record: dict[str, Any] | None) -> None:
    """What int8 scales were chosen with, and how far the decisions are from those of float."""
    if record is None:
        return
    calibration, agreement = record["calibration"], record["accuracy"].get("agreement")
    same = "" if agreement is None else f"; {agreement:.0%} of decisions as in float"
    count = calibration["samples"]
    console.text(
        f"int8: calibrated with {count} sample{'s' * (count != 1)}, {calibration['source']}{same}"
    )


def _say_tuning(console: Console, record: dict[str, Any] | None) -> None:
    """How many kernels a tuning database had schedules for, and which of them were no use."""
    if record is None:
        return
    count = len(record["kernels"])
    console.text(f"tuned: {count} kernel{'s' * (count != 1)} by records of the database")
    for name, reason in sorted(record["refused"].items()):
        console.note(f"note: {name} is scheduled by rule, for its record cannot be used: {reason}")


def _batches(text: str) -> tuple[int, ...]:
    """Three numbers of rows."""
    numbers = tuple(positive(part) for part in text.split(","))
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(f"must be three numbers as 1,8,32, but received {text!r}")
    return numbers


def _ranges(arguments: argparse.Namespace) -> dict[str, Any]:
    """The range of batches, if one was asked for; UsageError if the target takes none."""
    if arguments.batches is None:
        return {}
    from ..targets import check_batches

    check_batches(arguments.target, arguments.batches)
    return {"batches": arguments.batches}


def _check_out(path: str) -> str:
    """Find out now, not after minutes of compiling, that ``path`` cannot be written."""
    folder = Path(path).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or Path(path).is_dir():
        raise UsageError(f"cannot write {path}; -o must name a file in a folder that is writable")
    return path


def _default_out(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") + ".mjb"
