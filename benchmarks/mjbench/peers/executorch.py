"""ExecuTorch with the XNNPACK backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mjbench.peers import read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("executorch",)
SETUP = "to_edge_transform_and_lower with XnnpackPartitioner; Method.execute on one bound tensor"
_MODEL = "model.pte"


def prepare(subject: Subject, folder: Path) -> None:
    """Export and lower to XNNPACK; what it does not take stays with portable kernels."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    module, x = subject.build()
    lowered = to_edge_transform_and_lower(
        torch.export.export(module, (x,)), partitioner=[XnnpackPartitioner()]
    )
    with (folder / _MODEL).open("wb") as stream:
        lowered.to_executorch().write_to_file(stream)


class ExecuTorch:
    """A loaded method."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        portable_lib._unsafe_reset_threadpool(threads)
        program = Runtime.get().load_program(folder / _MODEL)
        self._method: Any = program.load_method("forward")
        self._inputs = [torch.from_numpy(read_input(folder))]
        self._outputs: Any = None

    def run(self) -> None:
        """One execution."""
        self._outputs = self._method.execute(self._inputs)

    def output(self) -> np.ndarray:
        """The first output."""
        result: np.ndarray = self._outputs[0].numpy()
        return result


load = ExecuTorch
