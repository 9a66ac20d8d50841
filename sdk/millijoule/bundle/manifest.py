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
from .archive import MAX_ARCHIVE, check_name
from .checks import check_manifest
from .cuda import CudaProgram
from .fields import Fields
from .firmware import Firmware
from .graph import GraphProgram
from .specs import Kernel, KernelOutput, StateSpec, TensorSpec
from .split import SplitPlan

__all__ = [
    "FORMAT",
    "MAX_DIMS",
    "SCHEMA",
    "Arena",
    "FileEntry",
    "Manifest",
    "ModelInfo",
    "Program",
    "Streaming",
    "Target",
    "layer_group",
]

FORMAT = "millijoule-bundle"
SCHEMA = 2
_FIXED_SCHEMA = 1

#: Most bytes of scratch memory that a program may ask for.
MAX_ARENA = 1 << 34

MAX_DIMS = 8  # MJ_MAX_DIMS
_MAX_TENSORS = 256
_MAX_STATES = 4096
_MAX_KERNELS = 1 << 16
_MAX_LABELS = 1 << 17
_MAX_THREADS = 4096
_MAX_RECORD = 1 << 20


def layer_group(layer: str) -> str:
    """The prefix under which papers sum: ``block.0.attn.lmu`` → ``block.0.attn``, else the head."""
    parts = layer.split(".")
    return ".".join(parts[:3]) if parts[1:] and parts[1].isdigit() else parts[0]


@dataclass(frozen=True)
class ModelInfo:
    """Where the program came from. ``parameters`` counts trained scalars, without buffers.

    ``reference_macs``: dense multiply-accumulates per sample (a whole sequence for a streaming
    program) by layer, as the paper counts them, whatever the program does instead.
    """

    name: str
    family: str
    variant: str
    hparams: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    source: str | None = None
    ignored_keys: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    frontend: dict[str, Any] | None = None
    reference_macs: dict[str, int] = field(default_factory=dict)

    def published_macs(self) -> dict[str, int]:
        """`reference_macs` summed by `layer_group`."""
        groups: dict[str, int] = {}
        for layer, macs in self.reference_macs.items():
            groups[layer_group(layer)] = groups.get(layer_group(layer), 0) + macs
        return groups

    @classmethod
    def from_json(cls, fields: Fields) -> ModelInfo:
        """Read ``model``."""
        with fields:
            has_labels, has_frontend = fields.has("labels"), fields.has("frontend")
            info = cls(
                name=fields.text("name"),
                family=fields.text("family"),
                variant=fields.line("variant"),
                hparams=fields.mapping("hparams"),
                parameters=fields.integer("parameters"),
                source=fields.text("source") if fields.has("source") else None,
                ignored_keys=fields.texts("ignored_keys", _MAX_LABELS),
                labels=fields.texts("labels", _MAX_LABELS) if has_labels else None,
                frontend=fields.mapping("frontend") if has_frontend else None,
                reference_macs=_macs(fields),
            )
            if info.frontend is not None:
                fields.object("frontend").text("kind")
            return info


@dataclass(frozen=True)
class Target:
    """What the program was compiled for. ``features`` are LLVM names such as ``avx2``."""

    name: str
    kind: str
    triple: str
    cpu: str
    features: tuple[str, ...] = ()
    dtype: str = "float32"
    threads: int = 1

    @classmethod
    def from_json(cls, fields: Fields) -> Target:
        """Read ``target``."""
        with fields:
            return cls(
                name=fields.text("name"),
                kind=fields.text("kind"),
                triple=fields.line("triple"),
                cpu=fields.line("cpu"),
                features=fields.texts("features", 1024),
                dtype=fields.choice("dtype", ("float32", "float16", "int8")),
                threads=fields.integer("threads", 1, _MAX_THREADS),
            )


@dataclass(frozen=True)
class Streaming:
    """How to drive a program that takes one step at a time.

    Feed ``sequence_input`` one step, ``valid_input`` 1; the outputs of the first ``delay`` steps
    mean nothing. At the end feed ``delay`` more steps with ``valid_input`` 0. ``limit`` is the
    longest sequence in steps, None for endless ones. ``final_output`` names the output whose last
    value is the result for a whole sequence.
    """

    delay: int
    states: tuple[StateSpec, ...]
    sequence_input: str
    valid_input: str
    limit: int | None
    final_output: str

    @classmethod
    def from_json(cls, fields: Fields) -> Streaming:
        """Read ``streaming``."""
        with fields:
            return cls(
                delay=fields.integer("delay", 0, 1 << 20),
                states=fields.items("states", _MAX_STATES, StateSpec.from_json),
                sequence_input=fields.text("sequence_input"),
                valid_input=fields.text("valid_input"),
                limit=fields.integer("limit", 1) if fields.has("limit") else None,
                final_output=fields.text("final_output"),
            )


@dataclass(frozen=True)
class Program:
    """Which member holds what. ``abi`` is ``MJ_ABI_VERSION`` of the runtime inside the library."""

    kind: str
    library: str
    weights: str
    abi: int

    @classmethod
    def from_json(cls, fields: Fields) -> Program:
        """Read ``program``."""
        with fields:
            return cls(
                kind=fields.text("kind"),
                library=check_name(fields.text("library")),
                weights=check_name(fields.text("weights")),
                abi=fields.integer("abi", 1, 1 << 16),
            )


@dataclass(frozen=True)
class Arena:
    """The scratch memory of a program, in bytes.

    ``bytes`` is everything: planned buffers, kernel workspace, and two banks of states.
    """

    bytes: int
    planned_bytes: int
    workspace_bytes: int
    state_bytes: int
    alignment: int = 64

    @classmethod
    def from_json(cls, fields: Fields) -> Arena:
        """Read ``arena``."""
        with fields:
            arena = cls(
                bytes=fields.integer("bytes", 0, MAX_ARENA),
                planned_bytes=fields.integer("planned_bytes", 0, MAX_ARENA),
                workspace_bytes=fields.integer("workspace_bytes", 0, MAX_ARENA),
                state_bytes=fields.integer("state_bytes", 0, MAX_ARENA),
                alignment=fields.integer("alignment", 1, 1 << 16),
            )
            if arena.alignment & (arena.alignment - 1):
                fields.fail("alignment", "a power of two")
            parts = arena.planned_bytes + arena.workspace_bytes + 2 * arena.state_bytes
            if parts > arena.bytes:
                fields.fail("bytes", f"at least the {parts} bytes of its parts")
            return arena


@dataclass(frozen=True)
class FileEntry:
    """Size and checksum of one member."""

    bytes: int
    sha256: str

    @classmethod
    def from_json(cls, fields: Fields) -> FileEntry:
        """Read one value of ``files``."""
        with fields:
            return cls(
                fields.integer("bytes", 0, MAX_ARCHIVE),
                fields.text("sha256", "[0-9a-f]{64}", "64 hexadecimal digits"),
            )


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


def _macs(fields: Fields) -> dict[str, int]:
    """Multiply-accumulates by layer name; absent means none known."""
    if not fields.has("reference_macs"):
        return {}
    with fields.object("reference_macs") as layers:
        return {name: layers.integer(name) for name in sorted(layers.names())}


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
