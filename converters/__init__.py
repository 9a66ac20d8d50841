"""From a checkpoint or a torch module to a `Model`. Host only (needs torch and TVM)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millijoule.converters.dynamic import Dynamic, read_dynamic
from millijoule.converters.source import (
    read_calibration,
    read_folder,
    resolve_folder,
    zoo_entries,
)
from millijoule.converters.threads import one_torch_thread
from millijoule.errors import ModelError, UnsupportedError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from millijoule.converters.model import Model
    from millijoule.converters.source import Folder

__all__ = ["FAMILIES", "convert", "list_models"]

# family → the module with `convert_folder(folder, streaming, batch) -> Model`
FAMILIES = {
    "lmuformer": "millijoule.converters.lmuformer.convert",
    "fmvit": "millijoule.converters.fmvit.convert",
    "bibert": "millijoule.converters.binary.convert",
    "bipft": "millijoule.converters.binary.convert",
    "bivit": "millijoule.converters.binary.convert",
}

_DYNAMIC_FAMILIES = ("fmvit", "bibert", "bipft", "bivit")

FILES = (".nir", ".onnx", ".tflite")  # sources that are a file of one of these kinds


def convert(
    source: str | Path | nn.Module,
    *,
    streaming: bool = False,
    batch: int = 1,
    dtype: str = "float32",
    name: str | None = None,
    example_inputs: Any = None,
    dynamic: Any = None,
) -> Model:
    """Convert a model.

    Args:
        source: a model folder, a zoo name, ``module.py:function``, a NIR graph (``.nir``), an ONNX
            (``.onnx``) or TensorFlow Lite (``.tflite``) file, or a torch module.
        streaming: build the single step ``(frame, state) → (prefix output, state)``.
        batch: samples per call.
        dtype: what to build it as, "float32", "float16" or "int8"; a target may refuse one.
        name: name of the model in the bundle (default: the folder's or function's).
        example_inputs: for a torch module, tensors of the shapes to build for, in order or by
            name; for ONNX and TensorFlow Lite, arrays by input name.
        dynamic: axes whose size may vary within bounds, ``{"x": {0: Dim("batch", 1, 8)}}``; or, for
            sources that name their dimensions, ``[Dim("seq", 1, 512)]`` (see `converters.dynamic`).

    Raises ModelError for a checkpoint or config that breaks a rule, UnsupportedError for what this
    release cannot convert, UsageError for a source that names nothing.
    """
    if dtype not in ("float32", "float16", "int8"):
        raise UnsupportedError(
            f"[convert] dtype must be float32, float16 or int8, but is {dtype!r}"
        )
    if batch < 1:
        raise UsageError(f"[convert] batch must be at least 1, but is {batch}")
    sizes = read_dynamic(dynamic)
    with one_torch_thread():
        model = _convert(source, streaming, batch, name, example_inputs, sizes)
    model.dtype = dtype
    model.at_batch = lambda rows: convert(
        source,
        streaming=streaming,
        batch=rows,
        dtype=dtype,
        name=name,
        example_inputs=example_inputs,
    )
    return model


def _convert(
    source: str | Path | nn.Module,
    streaming: bool,
    batch: int,
    name: str | None,
    example_inputs: Any,
    dynamic: Dynamic,
) -> Model:
    if not isinstance(source, str | Path):
        from millijoule.converters.frontends.module import convert_module

        return convert_module(
            source, example_inputs, name=name, streaming=streaming, batch=batch, dynamic=dynamic
        )
    text = str(source)
    if ".py:" in text or text.endswith(FILES):
        frontends = importlib.import_module("millijoule.converters.frontends")
        return frontends.convert_file(
            text,
            batch=batch,
            name=name,
            streaming=streaming,
            example_inputs=example_inputs,
            dynamic=dynamic,
        )
    folder = read_folder(resolve_folder(text))
    if folder.family not in FAMILIES:
        raise ModelError(
            f"[{folder.path.name}/config.json] family must be one of {', '.join(FAMILIES)}, "
            f"but is {folder.family!r}"
        )
    model: Model = _convert_folder(folder, streaming, batch, dynamic)
    model.calibration = read_calibration(folder.path)
    if name:
        model.name = name
    return model


def _convert_folder(folder: Folder, streaming: bool, batch: int, dynamic: Dynamic) -> Model:
    convert = importlib.import_module(FAMILIES[folder.family]).convert_folder
    if folder.family in _DYNAMIC_FAMILIES:
        made: Model = convert(folder, streaming, batch, dynamic)
    elif dynamic:
        dims = ", ".join(map(str, dynamic.dims.values()))
        raise UnsupportedError(
            f"[dynamic] kernels of family {folder.family} are made for one size, but {dims} may "
            "vary; build for one: with --streaming any length will do, and rows run in turn"
        )
    else:
        made = convert(folder, streaming, batch)
    return made


def list_models() -> list[dict[str, Any]]:
    """Families with their variants, and zoo entries, for ``mj models``."""
    from millijoule.converters import binary, fmvit, lmuformer

    families = {
        "lmuformer": (lmuformer.VARIANTS, "arXiv 2402.04882"),
        "fmvit": (fmvit.VARIANTS, "arXiv 2311.05707: a reconstruction, the authors have no code"),
        "bibert": (binary.VARIANTS["bibert"], "arXiv 2203.06390"),
        "bipft": (binary.VARIANTS["bipft"], "AAAI 2024"),
        "bivit": (binary.VARIANTS["bivit"], "arXiv 2211.07091"),
    }
    rows: list[dict[str, Any]] = [
        {"name": name, "kind": "family", "variants": list(variants), "note": note}
        for name, (variants, note) in families.items()
    ]
    for name, path in zoo_entries().items():
        folder = read_folder(path)
        rows.append(
            {
                "name": name,
                "kind": "zoo",
                "variants": [folder.variant],
                "note": str(folder.config.get("description", "")),
            }
        )
    return rows
