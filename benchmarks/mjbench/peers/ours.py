"""Millijoule: a bundle for this machine, called through its executor with bound buffers."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mjbench.peers import read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("millijoule",)
SETUP = "mj build --target host, no tuning; executor with bound buffers"
BUNDLE = "model.mjb"


def prepare(subject: Subject, folder: Path) -> None:
    """Convert the torch module and build it."""
    from millijoule.converters import convert
    from millijoule.targets import build

    module, x = subject.build()
    model = convert(module, example_inputs=(x,), name=subject.name)
    build(model, "host", folder / BUNDLE).close()


class Ours:
    """A session's program."""

    def __init__(self, folder: Path, threads: int) -> None:
        import millijoule as mj
        from millijoule.executors import aligned_empty

        self.session = mj.load(folder / BUNDLE, threads=threads)
        spec = self.session.inputs[0]
        x = aligned_empty(spec.shape, spec.dtype)
        x[...] = read_input(folder)
        self._outputs = [aligned_empty(s.shape, s.dtype) for s in self.session.outputs]
        self.run = functools.partial(self.session.program.run, [x], self._outputs)

    def output(self) -> np.ndarray:
        """The one output."""
        return self._outputs[0]


load = Ours
