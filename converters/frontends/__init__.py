"""Front ends: a user's own torch module, snnTorch network or NIR graph → `Model`.

``path/to/module.py:function`` executes the file, as the user's own code; see `userfile`.
"""

from __future__ import annotations

from millijoule.converters.frontends.module import convert_module
from millijoule.converters.frontends.snntorch import convert_snntorch
from millijoule.converters.frontends.userfile import load_example
from millijoule.converters.model import Model

__all__ = ["convert_file", "convert_module", "convert_snntorch"]


def convert_file(
    text: str, *, batch: int = 1, name: str | None = None, streaming: bool = False
) -> Model:
    """Convert ``module.py:function`` or ``graph.nir``.

    Args:
        batch: 1 keeps the batch of the example inputs; another number repeats (or cuts) its rows.
        name: name of the model (default: the function's, or the file's if that is ``make``).
        streaming: build the single step of a spiking network.

    Raises UsageError for a file or function that is not there, ModelError for an exception inside
    the user's code, UnsupportedError for what cannot be converted, DeviceError for a missing
    package.
    """
    if text.endswith(".nir"):
        from millijoule.converters.frontends.nir import convert_nir

        return convert_nir(text, batch=batch, name=name, streaming=streaming)
    module, examples, found = load_example(text)
    return convert_module(module, examples, name=name or found, streaming=streaming, batch=batch)
