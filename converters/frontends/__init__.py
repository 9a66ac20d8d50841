"""Front ends: a user's own torch module, snnTorch network, NIR, ONNX or TFLite file → `Model`.

``path/to/module.py:function`` executes the file, as the user's own code; see `userfile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millijoule.converters.dynamic import Dynamic
from millijoule.converters.frontends.module import convert_module
from millijoule.converters.frontends.snntorch import convert_snntorch
from millijoule.converters.frontends.userfile import load_example
from millijoule.converters.model import Model
from millijoule.errors import UnsupportedError, UsageError

__all__ = ["convert_file", "convert_module", "convert_snntorch"]


def convert_file(
    text: str,
    *,
    batch: int = 1,
    name: str | None = None,
    streaming: bool = False,
    example_inputs: Any = None,
    dynamic: Dynamic = Dynamic(),  # noqa: B008 (frozen)
) -> Model:
    """Convert ``module.py:function``, ``graph.nir``, ``model.onnx`` or ``model.tflite``.

    Args:
        batch: 1 keeps the batch of the example inputs; another number repeats (or cuts) its rows.
        name: name of the model (default: the function's, or the file's if that is ``make``).
        streaming: build the single step of a spiking network.
        example_inputs: for ONNX and TensorFlow Lite, arrays by input name.
        dynamic: axes of inputs whose size may vary.

    Raises UsageError for a file or function that is not there, ModelError for an exception inside
    the user's code, UnsupportedError for what cannot be converted, DeviceError for a missing
    package.
    """
    if dynamic and text.endswith((".nir", ".tflite")):
        raise UnsupportedError(
            f"[dynamic] {text}: graphs of this kind have fixed sizes; export the model to ONNX, or "
            "give the torch module"
        )
    if text.endswith(".nir"):
        from millijoule.converters.frontends.nir import convert_nir

        return convert_nir(text, batch=batch, name=name, streaming=streaming)
    if text.endswith((".onnx", ".tflite")):
        return _convert_graph(text, batch, name, streaming, example_inputs, dynamic)
    module, examples, found = load_example(text)
    return convert_module(
        module, examples, name=name or found, streaming=streaming, batch=batch, dynamic=dynamic
    )


def _convert_graph(
    text: str,
    batch: int,
    name: str | None,
    streaming: bool,
    example_inputs: Any,
    dynamic: Dynamic,
) -> Model:
    """An ONNX or TensorFlow Lite file."""
    if streaming:
        raise UnsupportedError(
            f"[streaming] {text} is an ordinary graph, which has no step form; build it without "
            "--streaming"
        )
    if example_inputs is not None and not isinstance(example_inputs, Mapping):
        raise UsageError("[convert] example_inputs of a file must be arrays by input name")
    if text.endswith(".onnx"):
        from millijoule.converters.frontends.onnx import convert_onnx

        return convert_onnx(
            text, example_inputs=example_inputs, batch=batch, name=name, dynamic=dynamic
        )
    from millijoule.converters.frontends.tflite import convert_tflite

    return convert_tflite(text, example_inputs=example_inputs, batch=batch, name=name)
