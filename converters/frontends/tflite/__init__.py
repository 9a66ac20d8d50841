"""TensorFlow Lite models: ``model.tflite`` with fixed shapes.

Quantized tensors become float32 first (`dequantize`); the graph is then imported with TVM's
conversions, and what a program must return is computed with LiteRT from the same float graph.
Needs ``pip install 'millijoule[tflite]'``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from millijoule.converters.frontends.onnx.samples import draw
from millijoule.converters.frontends.plain_names import plain_names
from millijoule.converters.frontends.tflite.graph import import_graph
from millijoule.converters.frontends.tflite.load import Loaded, load
from millijoule.converters.frontends.tflite.runtime import expected_outputs
from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError, UsageError

FAMILY = "tflite"
__all__ = ["convert_tflite"]


def convert_tflite(
    path: str | Path,
    *,
    example_inputs: Mapping[str, Any] | None = None,
    batch: int = 1,
    name: str | None = None,
) -> Model:
    """Convert a TensorFlow Lite file.

    Args:
        example_inputs: arrays by input name; they become the sample. Without them, inputs are
            drawn from a seed: normal floats, integers 0 and 1.
        batch: must be that of the file, whose shapes are fixed; 1 keeps it.
        name: name of the model (default: the file's).

    Raises UsageError for a missing file or examples that do not fit, ModelError for a file that is
    no valid model, UnsupportedError naming every operator that cannot be imported, DeviceError if
    the packages tflite and ai-edge-litert are missing.
    """
    loaded = load(Path(path))
    module, layers, outputs = import_graph(loaded)
    given = _samples(loaded, example_inputs, batch)
    results = expected_outputs(loaded, given)
    _compare(loaded, outputs, results)
    names, out_names = plain_names(loaded.inputs), plain_names(outputs)
    return Model(
        name=name or Path(path).stem,
        module=module,
        layers=layers,
        inputs=tuple((names[n], t) for n, t in loaded.inputs.items()),
        outputs=tuple((out_names[n], t) for n, t in outputs.items()),
        sample_inputs={names[n]: x for n, x in given.items()},
        sample_outputs={out_names[n]: y for n, y in zip(outputs, results, strict=True)},
        family=FAMILY,
        variant=loaded.statement,
        parameters=loaded.parameters,
    )


def _samples(
    loaded: Loaded, examples: Mapping[str, Any] | None, batch: int
) -> dict[str, np.ndarray]:
    """The examples, and from a seed what they leave out."""
    where = f"[{loaded.path.name}]"
    unknown = sorted(set(examples or ()) - set(loaded.inputs))
    if unknown:
        raise UsageError(
            f"{where} inputs are {', '.join(loaded.inputs)}, but there are examples of "
            f"{', '.join(unknown)}"
        )
    rng = np.random.default_rng(0)
    given = {}
    for name, t in loaded.inputs.items():
        if batch != 1 and t.shape[:1] != (batch,):
            raise UsageError(
                f"{where} input {name!r} has the fixed shape {list(t.shape)}, "
                f"but --batch is {batch}"
            )
        if examples and name in examples:
            given[name] = np.ascontiguousarray(examples[name], t.dtype)
            if given[name].shape != t.shape:
                raise UsageError(
                    f"{where} input {name!r} has the fixed shape {list(t.shape)}, but its example "
                    f"{list(given[name].shape)}"
                )
        else:
            given[name] = draw(rng, t)
    return given


def _compare(loaded: Loaded, outputs: Mapping[str, TensorType], results: list[np.ndarray]) -> None:
    """UnsupportedError if an output's type is not the one that LiteRT computes."""
    for (name, t), y in zip(outputs.items(), results, strict=True):
        if t != TensorType(y.shape, str(y.dtype)):
            raise UnsupportedError(
                f"[{loaded.path.name}] output {name!r} imports as {list(t.shape)} {t.dtype}, but "
                f"LiteRT computes {list(y.shape)} {y.dtype}; please report the model"
            )
