"""The manifest of a bundle: what the program is, what goes in and out, what it costs.

``Manifest.from_json`` accepts exactly what ``Manifest.to_json`` writes and checks everything that
an executor relies on, so that code behind it need not check again.

Schema 1 is a program of fixed sizes. Schema 2 adds ``io.dims``, dimensions with bounds, and the
``sizes`` of tensors and counts made of them; a program without any is written as schema 1.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import BundleError
from ..sizes import MAX_SIZE, NAME, Dim
from .archive import check_name
from .checks import check_manifest
from .cuda import CudaProgram
from .fields import Fields
from .firmware import Firmware
from .graph import GraphProgram
from .parts import Arena, FileEntry, ModelInfo, Program, Streaming, Target
from .specs import Kernel, KernelOutput, TensorSpec
from .split import SplitPlan

__all__ = ["FORMAT", "MAX_DIMS", "SCHEMA", "Manifest"]

FORMAT = "millijoule-bundle"
SCHEMA = 2
_FIXED_SCHEMA = 1

MAX_DIMS = 8  # MJ_MAX_DIMS
_MAX_TENSORS = 256
_MAX_KERNELS = 1 << 16
_MAX_RECORD = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle but the bytes of its members.

    ``firmware`` belongs to programs for bare metal, ``cuda`` to those for NVIDIA GPUs, ``graph`` to
    those of other runtimes. ``split``: what of a GPU program another runtime could calculate.
    ``quantization`` says how an integer program came about: its ``scheme`` and whatever the
    quantizer recorded.
    """

    model: ModelInfo
    target: Target
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    program: Program
    arena: Arena
    kernels: tuple[Kernel, ...] = ()
    streaming: Streaming | None = None
    firmware: Firmware | None = None
    cuda: CudaProgram | None = None
    split: SplitPlan | None = None
    graph: GraphProgram | None = None
    quantization: dict[str, Any] | None = None
    toolchain: dict[str, Any] = field(default_factory=dict)
    tolerance: dict[str, float] = field(default_factory=lambda: {"default": 2e-5})
    files: dict[str, FileEntry] = field(default_factory=dict)
    dims: tuple[Dim, ...] = ()

    @property
    def batch(self) -> int:
        """Samples that one call of the program takes, at most."""
        sizes = [t.shape[t.batch_axis] for t in self.inputs if t.batch_axis is not None]
        return sizes[0] if sizes else 1

    def taps(self) -> Iterator[tuple[int, KernelOutput]]:
        """Kernel outputs that can be read out, each with the index of its kernel."""
        for index, kernel in enumerate(self.kernels):
            for output in kernel.outputs:
                if output.name is not None and output.offset is not None:
                    yield index, output

    def tolerance_of(self, output: str) -> float:
        """Largest allowed absolute error of ``output`` in verification."""
        return self.tolerance.get(output, self.tolerance["default"])

    @classmethod
    def from_json(cls, value: Any) -> Manifest:
        """Read and check a manifest.

        Raises:
            BundleError: one line naming the field that breaks a rule.
        """
        with Fields(value, "manifest") as fields:
            fields.choice("format", (FORMAT,))
            schema = fields.integer("schema", 0)
            if schema not in (_FIXED_SCHEMA, SCHEMA):
                fields.fail("schema", f"at most {SCHEMA}; update Millijoule to open this bundle")
            with fields.object("io") as io:
                dims = io.items("dims", MAX_DIMS, _dim) if schema > _FIXED_SCHEMA else ()
                if schema > _FIXED_SCHEMA and not dims:
                    io.fail("dims", "at least one dimension")
                inputs = io.items("inputs", _MAX_TENSORS, TensorSpec.from_json)
                outputs = io.items("outputs", _MAX_TENSORS, TensorSpec.from_json)
            streams = fields.has("streaming")
            manifest = cls(
                model=ModelInfo.from_json(fields.object("model")),
                target=Target.from_json(fields.object("target")),
                inputs=inputs,
                outputs=outputs,
                streaming=Streaming.from_json(fields.object("streaming")) if streams else None,
                program=Program.from_json(fields.object("program")),
                arena=Arena.from_json(fields.object("arena")),
                kernels=fields.items("kernels", _MAX_KERNELS, Kernel.from_json),
                firmware=Firmware.from_json(fields.object("firmware"))
                if fields.has("firmware")
                else None,
                cuda=CudaProgram.from_json(fields.object("cuda")) if fields.has("cuda") else None,
                split=SplitPlan.from_json(fields.object("split")) if fields.has("split") else None,
                graph=GraphProgram.from_json(fields.object("graph"))
                if fields.has("graph")
                else None,
                quantization=_quantization(fields),
                toolchain=fields.mapping("toolchain"),
                tolerance=_tolerance(fields.object("tolerance")),
                files=_files(fields.object("files")),
                dims=dims,
            )
        check_manifest(manifest)
        return manifest

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON values; ``from_json`` gives an equal manifest back."""
        plain = _plain(self)
        dims = plain.pop("dims")
        plain["io"] = {"inputs": plain.pop("inputs"), "outputs": plain.pop("outputs")}
        outputs = [o for kernel in plain["kernels"] for o in kernel["outputs"]]
        for tensor in (*plain["io"]["inputs"], *plain["io"]["outputs"], *outputs):
            if tensor["sizes"] is None:
                del tensor["sizes"]
        for kernel in plain["kernels"]:
            if not kernel["sizes"]:
                del kernel["sizes"]
        if dims:
            plain["io"]["dims"] = dims
        return {"format": FORMAT, "schema": SCHEMA if dims else _FIXED_SCHEMA, **plain}

    def to_bytes(self) -> bytes:
        """The text of ``manifest.json``; equal manifests give equal bytes."""
        try:
            text = json.dumps(self.to_json(), sort_keys=True, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BundleError(f"[manifest] holds a value that JSON cannot: {error}") from error
        return text.encode("ascii") + b"\n"


def _dim(value: Any, where: str) -> Dim:
    """Read one entry of ``io.dims``."""
    with Fields(value, where) as fields:
        name = fields.text("name", NAME, "an identifier")
        low = fields.integer("min", 1, MAX_SIZE)
        return Dim(name, low, fields.integer("max", low, MAX_SIZE))


def _quantization(fields: Fields) -> dict[str, Any] | None:
    """A record of bounded size whose only fixed field is the scheme."""
    if not fields.has("quantization"):
        return None
    record = fields.record("quantization")
    fields.object("quantization").text("scheme")
    if len(json.dumps(record)) > _MAX_RECORD:
        fields.fail("quantization", f"at most {_MAX_RECORD} bytes of JSON")
    return record


def _tolerance(fields: Fields) -> dict[str, float]:
    """Largest absolute errors by output name; ``default`` is required."""
    names = sorted({"default", *fields.names()})
    return {name: fields.real(name) for name in names}


def _files(fields: Fields) -> dict[str, FileEntry]:
    """Members by name."""
    names = fields.names()
    return {check_name(name): FileEntry.from_json(fields.object(name)) for name in names}


def _plain(value: Any) -> Any:
    """Dataclasses as dicts and tuples as lists, all the way down."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
