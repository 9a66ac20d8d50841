"""From a converted model to a bundle for one target. Host only (needs TVM)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millijoule.bundle import EMIT, MAX_DIMS, RUNTIMES, Limits
from millijoule.errors import UnsupportedError, UsageError
from millijoule.targets.target import STATIC_AOT, Target, get_target, list_targets

if TYPE_CHECKING:
    import numpy as np

    from millijoule.bundle import Bundle
    from millijoule.converters.model import Model
    from millijoule.targets.mcu.boards import Board

__all__ = [
    "Target",
    "build",
    "check_batches",
    "check_limits",
    "check_plugins",
    "check_tuning",
    "get_target",
    "list_boards",
    "list_targets",
]


# kind of program → module and function (model, target, out, dtype, progress) -> Bundle
_GRAPH_BUILDERS = {
    "mlprogram": ("millijoule.targets.coreml.build", "build_coreml"),
    "onnx": ("millijoule.targets.tensorrt.build", "build_tensorrt"),
    "tflite": ("millijoule.targets.litert.build", "build_litert"),
}


def build(
    model: Model,
    target: str = "host",
    out: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    emit: str = "object",
    dtype: str | None = None,
    calibration: Mapping[str, np.ndarray] | None = None,
    board: str | None = None,
    flash: int | None = None,
    ram: int | None = None,
    batches: tuple[int, int, int] | None = None,
    split: str | None = None,
    plugins: bool = False,
    tuning_db: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Bundle:
    """Compile ``model``, write the bundle ``out`` (default ``<model name>.mjb``); return it open.

    Args:
        model: from `millijoule.convert`.
        target: a name of ``mj targets``.
        threads: how many threads a session uses unless it is told otherwise (default 1).
        emit: "object", or for microcontrollers "c": sources for a vendor's compiler.
        dtype: "float32", "int8" (CPUs, microcontrollers, LiteRT) or "float16" (graphs of other
            runtimes, CPUs that calculate in it); default: what the model was converted for.
        calibration: for int8, arrays of samples by input name, and optionally "labels".
        board: for microcontrollers, refuse a program that this board cannot hold (`boards`).
        flash: … or that needs more than this many bytes of flash,
        ram: … or of RAM.
        batches: for tensorrt, least, usual and largest batch of an engine for any of them; the
            usual one is the model's own.
        split: for GPUs, "tensorrt": write dense regions as ONNX graphs besides (`manifest.split`).
        plugins: for tensorrt, write a second graph whose binary and spiking layers are kernels of
            ours, with machine code for every GPU; the device falls back to the first.
        tuning_db: for CPUs with an operating system, a folder with MetaSchedule's records (see
            `mj tune`): functions without a kernel of ours take their schedules from it.
        progress: called with the name of each stage.

    Raises UsageError for an unknown target, board, dtype or tuning database, UnsupportedError for a
    model that the target cannot hold, DeviceError if the C compiler is missing or fails. Nothing
    half-written stays.
    """
    chosen = get_target(target)
    dtype = dtype or model.dtype
    _check_options(chosen, emit, dtype, threads, calibration)
    check_batches(target, batches)
    _check_dims(model, chosen, dtype)
    limits = check_limits(target, board, flash, ram)
    _check_split(chosen, split)
    check_plugins(target, plugins, dtype, batches)
    check_tuning(target, tuning_db, dtype)
    path = Path(out) if out is not None else Path(f"{model.name}.mjb")
    report = progress or (lambda stage: None)
    if dtype == "int8":
        model = _quantized(model, calibration, report)
    if chosen.is_graph:
        builder = import_module(_GRAPH_BUILDERS[chosen.kind][0])
        build_graph = getattr(builder, _GRAPH_BUILDERS[chosen.kind][1])
        more: dict[str, Any] = {"batches": batches} if batches is not None else {}
        more |= {"plugins": True} if plugins else {}
        written: Bundle = build_graph(model, chosen, path, dtype, report, **more)
        return written
    if chosen.is_cuda:
        from millijoule.targets.jetson.build import build_jetson

        return build_jetson(model, chosen, path, report, split=split)
    if chosen.bare_metal:
        from millijoule.targets.mcu.build import build_mcu

        return build_mcu(model, chosen, path, emit=emit, limits=limits, progress=report)
    from millijoule.targets.cpu.build import build_cpu

    half = dtype == "float16"
    return build_cpu(model, chosen, path, threads or 1, report, half=half, tuning_db=tuning_db)


def check_limits(target: str, board: str | None, flash: int | None, ram: int | None) -> Limits:
    """The budget of a build for ``target``; arguments as those of `build`.

    Raises UsageError for an unknown board, one of another core, or a target without a budget.
    """
    if board is None and flash is None and ram is None:
        return Limits()
    if not get_target(target).bare_metal:
        names = ", ".join(t.name for t in list_targets() if t.bare_metal)
        raise UsageError(
            f"[build] board, flash and ram limit programs for microcontrollers ({names}), but the"
            f" target is {target}"
        )
    from millijoule.targets.mcu.boards import limits_of

    return limits_of(target, board, flash, ram)


def list_boards() -> list[Board]:
    """Every microcontroller board with known flash and RAM, for ``mj targets``."""
    from millijoule.targets.mcu.boards import BOARDS

    return list(BOARDS.values())


def _check_options(
    target: Target,
    emit: str,
    dtype: str | None,
    threads: int | None,
    calibration: Mapping[str, np.ndarray] | None,
) -> None:
    if emit not in EMIT:
        raise UsageError(f"[build] emit must be one of {', '.join(EMIT)}, but is {emit!r}")
    if emit != "object" and not target.bare_metal:
        raise UnsupportedError(f"[build] target {target.name} emits objects only, not {emit!r}")
    dtypes = _dtypes(target)
    if dtype not in (None, *dtypes):
        halves = ", ".join(t.name for t in list_targets() if "float16" in _dtypes(t))
        remedy = f" ({halves} do)" if dtype == "float16" else ""
        raise UnsupportedError(
            f"[build] target {target.name} computes in {' or '.join(dtypes)}, not {dtype}{remedy}"
        )
    if calibration is not None and dtype != "int8":
        raise UsageError("[build] calibration samples are for dtype int8 only")
    if threads is not None and threads < 1:
        raise UsageError(f"[build] threads must be at least 1, but is {threads}")
    if threads not in (None, 1) and target.bare_metal:
        raise UsageError(f"[build] target {target.name} has one thread, but threads is {threads}")
    if threads is not None and target.is_graph:
        raise UsageError(f"[build] threads of target {target.name} are its runtime's own")
    if threads not in (None, 1) and target.is_cuda:
        raise UsageError(f"[build] target {target.name} has a GPU, but threads is {threads}")


def _check_split(target: Target, split: str | None) -> None:
    if split is None:
        return
    if split not in RUNTIMES:
        raise UsageError(f"[build] split must be one of {', '.join(RUNTIMES)}, but is {split!r}")
    if not target.is_cuda:
        names = ", ".join(t.name for t in list_targets() if t.is_cuda)
        raise UsageError(f"[build] split is for {names}, but the target is {target.name}")


def check_batches(target: str, batches: tuple[int, int, int] | None) -> None:
    """UsageError unless ``target`` takes a range of batches, and this is one."""
    if batches is None:
        return
    if get_target(target).kind != "onnx":
        raise UsageError(f"[build] target {target} has one batch; a range of them is for tensorrt")
    if len(batches) != 3 or not 1 <= batches[0] <= batches[1] <= batches[2]:
        raise UsageError(
            "[build] batches must be the least, usual and largest, in this order, but are"
            f" {', '.join(map(str, batches))}"
        )


def check_plugins(
    target: str, plugins: bool, dtype: str | None, batches: tuple[int, int, int] | None
) -> None:
    """UsageError unless kernels of ours can stand in graphs for ``target`` as it is built."""
    if not plugins:
        return
    if get_target(target).kind != "onnx":
        raise UsageError(f"[build] plugins are for tensorrt, but the target is {target}")
    if batches is not None:
        raise UsageError("[build] kernels of plugins have one batch; leave out batches or plugins")
    if dtype not in (None, "float32"):
        raise UsageError(f"[build] kernels of plugins calculate in float32, but dtype is {dtype}")


def check_tuning(
    target: str, tuning_db: str | os.PathLike[str] | None, dtype: str | None = None
) -> None:
    """UsageError unless ``target`` takes tuned schedules, and ``tuning_db`` holds a database."""
    if tuning_db is None:
        return
    if get_target(target).kind != STATIC_AOT:
        names = ", ".join(t.name for t in list_targets() if t.kind == STATIC_AOT)
        raise UsageError(f"[build] a tuning database is for {names}, but the target is {target}")
    if dtype == "float16":
        raise UsageError(
            "[build] a tuning database is for float32 and int8, but dtype is float16, whose "
            "functions are those of float32 stored otherwise; leave one of the two out"
        )
    from millijoule.targets.tuning.records import TuningRecords

    TuningRecords(tuning_db)


def _dtypes(target: Target) -> tuple[str, ...]:
    """What programs of ``target`` can be built as."""
    if target.is_cuda:
        return ("float32",)
    if target.is_graph:
        return ("float32", "float16", *(("int8",) if target.kind == "tflite" else ()))
    # without arithmetic of halves every load of a weight would cost a conversion: a linear layer on
    # a Cortex-A72 would take 1.7 times the instructions of float32
    halves = target.kind == STATIC_AOT and target.isa.half
    return ("float32", "float16", "int8") if halves else ("float32", "int8")


def _check_dims(model: Model, target: Target, dtype: str) -> None:
    """UnsupportedError if sizes vary where every size must be fixed."""
    if not model.dims:
        return
    dims = ", ".join(map(str, model.dims))
    if target.kind != STATIC_AOT:
        names = ", ".join(t.name for t in list_targets() if t.kind == STATIC_AOT)
        raise UnsupportedError(
            f"[dynamic] target {target.name} takes fixed sizes only, but {dims} may vary; build it "
            f"without, or for one of {names}"
        )
    if dtype != "float32":
        raise UnsupportedError(
            f"[dynamic] {dtype} programs have fixed sizes, but {dims} may vary; build float32"
        )
    if len(model.dims) > MAX_DIMS:
        raise UnsupportedError(
            f"[dynamic] a program has at most {MAX_DIMS} dimensions that vary, but received {dims}"
        )


def _quantized(
    model: Model, calibration: Mapping[str, np.ndarray] | None, progress: Callable[[str], None]
) -> Model:
    """``model`` in int8; itself if it already is."""
    if model.quantization is not None:
        return model
    from millijoule.targets.quantization import quantize

    return quantize(model, calibration, progress)
