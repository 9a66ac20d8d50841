"""ncnn, converted by pnnx, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mjbench.peers import expected_shape, read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("ncnn", "pnnx")
SETUP = "pnnx from torch, weights and arithmetic float32, default optimizations, no Vulkan"


def prepare(subject: Subject, folder: Path) -> None:
    """Convert the torch module."""
    import pnnx

    module, x = subject.build()
    pnnx.export(module, str(folder / "model.pt"), x, fp16=False)
    if not (folder / "model.ncnn.param").is_file():
        raise RuntimeError("pnnx wrote no ncnn model")


def _foreign_layers(folder: Path) -> set[str]:
    """Layers that pnnx left as torch's own; ncnn's have no dot in their names."""
    lines = (folder / "model.ncnn.param").read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines[2:] if "." in line.split()[0]}


class Ncnn:
    """A net; every run needs a fresh extractor."""

    def __init__(self, folder: Path, threads: int) -> None:
        import ncnn

        self._net: Any = ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        if self._net.load_param(str(folder / "model.ncnn.param")) or self._net.load_model(
            str(folder / "model.ncnn.bin")
        ):
            unknown = ", ".join(sorted(_foreign_layers(folder))) or "none of torch's"
            raise RuntimeError(f"ncnn cannot load what pnnx wrote; layers left over: {unknown}")
        x = read_input(folder)[0]
        self._array = np.ascontiguousarray(x, np.int32 if x.dtype.kind == "i" else np.float32)
        self._x = ncnn.Mat(self._array)
        self._shape = expected_shape(folder)
        self._y: Any = None

    def run(self) -> None:
        """One extraction."""
        extractor = self._net.create_extractor()
        extractor.input("in0", self._x)
        status, self._y = extractor.extract("out0")
        if status:
            raise RuntimeError(f"ncnn fails with status {status}")

    def output(self) -> np.ndarray:
        """The result with its batch axis."""
        return np.array(self._y).reshape(self._shape)


load = Ncnn
