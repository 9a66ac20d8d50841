"""LiteRT with XNNPACK, its default on CPUs; images channels-last, as it computes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mjbench.peers import read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("ai-edge-litert", "litert-torch")
SETUP = "litert_torch.convert with channels-last input; Interpreter, XNNPACK delegate (default)"
_MODEL = "model.tflite"


def prepare(subject: Subject, folder: Path) -> None:
    """Convert the torch module with Google's own converter."""
    import litert_torch

    module, x = subject.build()
    if subject.kind == "image":
        module = litert_torch.to_channel_last_io(module, args=[0])
        x = x.permute(0, 2, 3, 1).contiguous()
    litert_torch.convert(module, (x,)).export(str(folder / _MODEL))


class LiteRt:
    """An interpreter; the input stays where it was put."""

    def __init__(self, folder: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(str(folder / _MODEL), num_threads=threads)
        self._interpreter.allocate_tensors()
        details = self._interpreter.get_input_details()[0]
        x = read_input(folder)
        x = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
        self._interpreter.set_tensor(details["index"], np.ascontiguousarray(x, details["dtype"]))
        self.run = self._interpreter.invoke
        self._output = self._interpreter.get_output_details()[0]["index"]

    def output(self) -> np.ndarray:
        """A copy of the output tensor."""
        result: np.ndarray = self._interpreter.get_tensor(self._output)
        return result


load = LiteRt
