"""The parts of a manifest that every program has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .archive import MAX_ARCHIVE, check_name
from .fields import Fields
from .specs import StateSpec

__all__ = ["Arena", "FileEntry", "ModelInfo", "Program", "Streaming", "Target", "layer_group"]

#: Most bytes of scratch memory that a program may ask for.
MAX_ARENA = 1 << 34

_MAX_STATES = 4096
_MAX_LABELS = 1 << 17
_MAX_THREADS = 4096


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


def _macs(fields: Fields) -> dict[str, int]:
    """Multiply-accumulates by layer name; absent means none known."""
    if not fields.has("reference_macs"):
        return {}
    with fields.object("reference_macs") as layers:
        return {name: layers.integer(name) for name in sorted(layers.names())}
