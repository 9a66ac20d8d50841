"""torch's compiler, ahead of time: Inductor with frozen, prepacked weights and C++ kernels.

Just in time (`torch.compile`) it generates the same kernels, but leaves linear layers to MKL, which
does not use AVX-512 on processors of other makers; ahead of time they are oneDNN's. Code depends on
the number of threads, so there is a package for each.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mjbench.peers import read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("torch",)
SETUP = (
    "AOTInductor (torch._inductor.aoti_compile_and_package), freezing, channels_last for images, "
    "torch.inference_mode"
)
THREADS = (1, 2)


def prepare(subject: Subject, folder: Path) -> None:
    """Compile a package for every number of threads in `THREADS`."""
    import torch
    import torch._inductor
    import torch._inductor.config as inductor

    inductor.freezing = True
    module, x = subject.build()
    if x.dim() == 4:
        module, x = (v.to(memory_format=torch.channels_last) for v in (module, x))
    with torch.no_grad():
        exported = torch.export.export(module, (x,))
        for threads in THREADS:
            torch.set_num_threads(threads)
            path = str(_package(folder, threads))
            torch._inductor.aoti_compile_and_package(exported, package_path=path)


def _package(folder: Path, threads: int) -> Path:
    """The package for the largest number of threads that is not above ``threads``."""
    return folder / f"model-{max(n for n in THREADS if n <= threads)}.pt2"


class Compiled:
    """A loaded package."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        import torch._inductor

        torch.set_num_threads(threads)
        package = torch._inductor.aoti_load_package(str(_package(folder, threads)))
        x = torch.from_numpy(read_input(folder))
        self._x = x.to(memory_format=torch.channels_last) if x.dim() == 4 else x
        self._call, self._y = torch.inference_mode()(package), None

    def run(self) -> None:
        """One call of the compiled graph."""
        self._y = self._call(self._x)

    def output(self) -> np.ndarray:
        """The last result."""
        result: Any = self._y
        array: np.ndarray = result.numpy()
        return array


load = Compiled
