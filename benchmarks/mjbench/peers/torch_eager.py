"""PyTorch eager: inference mode; convolutional networks channels-last where that is faster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mjbench.peers import best_seconds, read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("torch",)
SETUP = "torch.inference_mode; memory format contiguous or channels_last, whichever was faster"


def prepare(subject: Subject, folder: Path) -> None:
    """Only remember what to build: eager modules have no file."""
    (folder / "subject").write_text(subject.name, encoding="utf-8")


def build(folder: Path, threads: int) -> tuple[Any, Any]:
    """Module and input of the subject that ``folder`` names."""
    import torch

    from mjbench.subjects import SUBJECTS

    torch.set_num_threads(threads)
    module, _ = SUBJECTS[(folder / "subject").read_text(encoding="utf-8")].build()
    return module, torch.from_numpy(read_input(folder))


class Eager:
    """A module."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch

        module, x = build(folder, threads)
        self._call, self._x, self._y = torch.inference_mode()(module), x, None
        if x.dim() != 4:
            return
        formats = (torch.contiguous_format, torch.channels_last)
        best = min(formats, key=lambda layout: self._seconds(module, x, layout))
        module.to(memory_format=best)
        self._x = x.to(memory_format=best)

    def _seconds(self, module: Any, x: Any, layout: Any) -> float:
        module.to(memory_format=layout)
        self._x = x.to(memory_format=layout)
        return best_seconds(self.run)

    def run(self) -> None:
        """One forward pass."""
        self._y = self._call(self._x)

    def output(self) -> np.ndarray:
        """The last result."""
        assert self._y is not None
        result: np.ndarray = self._y.numpy()
        return result


load = Eager
