"""What LiteRT computes from a model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

import numpy as np

from millijoule.converters.frontends.tflite.load import Loaded
from millijoule.converters.frontends.userfile import missing_package
from millijoule.errors import ModelError


def expected_outputs(loaded: Loaded, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """LiteRT's outputs, in the graph's order, with its own kernels on one thread.

    ModelError if it fails or an output is not finite.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise missing_package("ai_edge_litert") from error
    graph = loaded.model.subgraphs[0]
    try:
        with _quiet():
            interpreter = Interpreter(
                model_content=loaded.data,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            interpreter.allocate_tensors()
            for index, x in zip(graph.inputs, inputs.values(), strict=True):
                interpreter.set_tensor(int(index), x)
            interpreter.invoke()
            results = [interpreter.get_tensor(int(i)).copy() for i in graph.outputs]
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"[{loaded.path.name}] LiteRT fails on it: {reason}") from error
    for name, y in zip(loaded.outputs, results, strict=True):
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            raise ModelError(
                f"[{loaded.path.name}] output {name!r} is NaN or infinite on the sample; give "
                "examples that the model is meant for"
            )
    return results


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep LiteRT's log, which it writes to the process's standard error, out of the output."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
