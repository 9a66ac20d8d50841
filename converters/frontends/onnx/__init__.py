"""ONNX models: ``model.onnx``, also with external data.

Weights become constants, and everything that depends on no input is computed with ONNX's reference
implementation. Opsets `load.OPSETS` are read. Symbolic dimensions get bounds (``dynamic``), or one
size: the first of an input is the batch, all others come from example inputs. What a program must
return is computed with ONNX Runtime on the very file. Needs ``pip install 'millijoule[onnx]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from millijoule.converters.dynamic import Dynamic
from millijoule.converters.frontends.onnx.graph import GraphImporter
from millijoule.converters.frontends.onnx.load import Loaded, load
from millijoule.converters.frontends.onnx.samples import (
    SIZES,
    at_size,
    expected_outputs,
    sample_inputs,
)
from millijoule.converters.frontends.plain_names import plain_names
from millijoule.converters.model import Model, Sample
from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.sizes import Size

FAMILY = "onnx"
__all__ = ["convert_onnx"]


def convert_onnx(
    path: str | Path,
    *,
    example_inputs: Mapping[str, Any] | None = None,
    batch: int = 1,
    name: str | None = None,
    dynamic: Dynamic = Dynamic(),  # noqa: B008 (frozen)
) -> Model:
    """Convert an ONNX file.

    Args:
        example_inputs: arrays by input name; they set symbolic dimensions and become the sample.
            Without them, inputs are drawn from a seed: normal floats, integers 0 and 1.
        batch: size of the first symbolic dimension of each input.
        name: name of the model (default: the file's).
        dynamic: axes of inputs whose size may vary, by place or by the file's ``dim_param``.

    Raises UsageError for a missing file or a shape that is not known, ModelError for a file that is
    no valid ONNX model, UnsupportedError naming every node that cannot be imported, DeviceError if
    the packages onnx and onnxruntime are missing.
    """
    loaded = load(Path(path), example_inputs, batch, dynamic)
    module, layers, outputs = GraphImporter(loaded).run()
    given = sample_inputs(loaded, example_inputs)
    results = expected_outputs(loaded, given)
    more = [at_size(loaded, given, pick) for pick in SIZES] if loaded.dims else []
    _compare(loaded, outputs, results)
    names = plain_names(loaded.inputs)
    out_names = plain_names(outputs)
    return Model(
        name=name or Path(path).stem,
        module=module,
        layers=layers,
        inputs=tuple((names[n], _kept(t)) for n, t in loaded.inputs.items()),
        outputs=tuple((out_names[n], _kept(t)) for n, t in outputs.items()),
        sample_inputs={names[n]: x for n, x in given.items()},
        sample_outputs={out_names[n]: y for n, y in zip(outputs, results, strict=True)},
        more_samples=tuple(
            Sample(
                {names[n]: x for n, x in sample.items()},
                dict(zip(out_names.values(), expected_outputs(loaded, sample), strict=True)),
            )
            for sample in more
        ),
        family=FAMILY,
        variant=f"opset {loaded.opset}",
        parameters=loaded.parameters,
    )


def _compare(
    loaded: Loaded, outputs: Mapping[str, TensorType], results: Sequence[np.ndarray]
) -> None:
    """UnsupportedError if an output's type is not the one that ONNX Runtime computes."""
    for (name, t), y in zip(outputs.items(), results, strict=True):
        kept = _kept(t)
        fits = len(kept.shape) == y.ndim and all(
            isinstance(a, Size) or a == b for a, b in zip(kept.shape, y.shape, strict=True)
        )
        if not fits or kept.dtype != str(y.dtype):
            raise UnsupportedError(
                f"[{loaded.path.name}] output {name!r} imports as {list(t.shape)} {t.dtype}, but "
                f"ONNX Runtime computes {list(y.shape)} {y.dtype}; please report the model"
            )


def _kept(t: TensorType) -> TensorType:
    """Truth values are bytes in a bundle."""
    return TensorType(t.shape, "uint8") if t.dtype == "bool" else t
