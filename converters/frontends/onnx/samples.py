"""Sample inputs of an ONNX model, and what ONNX Runtime computes from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from millijoule.converters.frontends.onnx.load import Loaded
from millijoule.converters.frontends.userfile import missing_package
from millijoule.converters.ops import TensorType
from millijoule.errors import ModelError
from millijoule.sizes import Dim, Size, dims_of


def sample_inputs(loaded: Loaded, examples: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    """The examples, and from a seed what they leave out; truth values as bytes."""
    rng = np.random.default_rng(0)
    return {
        name: np.ascontiguousarray(examples[name], _plain(t.dtype))
        if examples and name in examples
        else draw(rng, TensorType(_middle(t), t.dtype))
        for name, t in loaded.inputs.items()
    }


# Sizes of further samples of a model whose sizes vary
SIZES: tuple[Callable[[Dim], int], ...] = (lambda dim: dim.min, lambda dim: dim.max)


def _middle(t: TensorType) -> tuple[int, ...]:
    """The shape with every dimension in the middle of its bounds."""
    middle = {d.name: (d.min + d.max) // 2 for d in dims_of(t.shape)}
    return tuple(d.at(middle) if isinstance(d, Size) else d for d in t.shape)


def at_size(
    loaded: Loaded, sample: Mapping[str, np.ndarray], pick: Callable[[Dim], int]
) -> dict[str, np.ndarray]:
    """``sample`` with every dimension at the size that ``pick`` chooses, going round."""
    resized = dict(sample)
    for (name, axis), dim in loaded.dynamic.places.items():
        x = resized[name]
        resized[name] = x.take(np.arange(pick(dim)) % x.shape[axis], axis)
    return resized


def draw(rng: np.random.Generator, t: TensorType) -> np.ndarray:
    """Normal floats; integers 0 and 1, which are tokens, masks and positions of any model."""
    if t.dtype == "float32":
        return rng.standard_normal(t.shape).astype(np.float32)
    return rng.integers(0, 2, t.shape).astype(_plain(t.dtype))


def _plain(dtype: str) -> str:
    return "uint8" if dtype == "bool" else dtype


def expected_outputs(loaded: Loaded, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """ONNX Runtime's outputs, in the graph's order; ModelError if it fails or they are not finite.

    It runs without graph optimizations on one thread, so that the numbers do not depend on the
    machine's number of cores.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    feed = {n: x.astype(loaded.inputs[n].dtype) for n, x in inputs.items()}
    try:
        session = onnxruntime.InferenceSession(
            str(loaded.path), options, providers=["CPUExecutionProvider"]
        )
        results = session.run(None, feed)
    except Exception as error:  # ONNX Runtime raises many kinds
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"[{loaded.path.name}] ONNX Runtime fails on it: {reason}") from error
    for value, y in zip(loaded.proto.graph.output, results, strict=True):
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            raise ModelError(
                f"[{loaded.path.name}] output {value.name!r} is NaN or infinite on the sample; "
                "give examples that the model is meant for"
            )
    results = [np.asarray(y) for y in results]
    return [y.astype(np.uint8) if y.dtype == bool else y.copy("C") for y in results]
