"""Kernels for a GPU that TensorRT calls as plugin layers: the table that a bundle holds of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .fields import Fields, parse_json

__all__ = [
    "PLUGIN_DOMAIN",
    "PLUGIN_NAME",
    "PLUGIN_VERSION",
    "PluginEntry",
    "PluginLaunch",
    "PluginOutput",
    "PluginTable",
]

#: Domain, operator and version of the nodes that call such kernels.
PLUGIN_DOMAIN, PLUGIN_NAME, PLUGIN_VERSION = "millijoule", "MillijouleKernels", "1"

_DTYPES = ("float32", "int32")
_SPACES = ("input", "output", "workspace", "weights")
_MOST = 4096  # entries of a table, launches of an entry


@dataclass(frozen=True)
class PluginLaunch:
    """One launch of ``kernel``.

    ``grid`` and ``block``: along x, y, z; ``shared``: bytes of dynamic shared memory;
    ``arguments``: pointers, as space ("input", "output": which; "workspace", "weights": byte) and
    number.
    """

    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    arguments: tuple[tuple[str, int], ...]

    @classmethod
    def from_json(cls, value: Any, where: str) -> PluginLaunch:
        """Read one launch."""
        with Fields(value, where) as fields:
            return cls(
                fields.text("kernel", r"[A-Za-z_]\w*", "a name of C"),
                _three(fields, "grid"),
                _three(fields, "block"),
                fields.integer("shared", 0, 1 << 20),
                fields.items("arguments", 64, _argument),
            )


@dataclass(frozen=True)
class PluginOutput:
    """A result: its shape and dtype."""

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def from_json(cls, value: Any, where: str) -> PluginOutput:
        """Read one result."""
        with Fields(value, where) as fields:
            return cls(fields.shape("shape"), fields.choice("dtype", _DTYPES))


@dataclass(frozen=True)
class PluginEntry:
    """An operator: what TensorRT asks about it, and its launches on one GPU.

    ``inputs``: dtypes of its operands, the last of which are its weights. ``workspace``: bytes.
    """

    name: str
    op: str
    layer: str
    inputs: tuple[str, ...]
    outputs: tuple[PluginOutput, ...]
    workspace: int
    launches: tuple[PluginLaunch, ...]


@dataclass(frozen=True)
class PluginTable:
    """What one GPU runs: the member with its machine code, and entries by name."""

    code: str
    entries: Mapping[str, PluginEntry]

    @classmethod
    def for_sm(cls, data: bytes, sm: int) -> PluginTable | None:
        """The table for compute capability ``sm`` / 10; None if the bundle has no code for it.

        ``data``: the member as JSON. Raises BundleError for one that is damaged.
        """
        with Fields(parse_json(data, "plugins"), "plugins") as fields:
            entries, variants = fields.object("entries"), fields.object("launches")
            devices = fields.object("devices")
        if not devices.present(str(sm)):
            return None
        with devices.object(str(sm)) as device:
            code, variant = device.text("code"), device.text("variant")
            device.text("sha256", "[0-9a-f]{64}", "a SHA-256")
        launches = variants.object(variant)
        return cls(code, {n: _entry(n, entries.object(n), launches) for n in entries.names()})


def _entry(name: str, described: Fields, variant: Fields) -> PluginEntry:
    with described as fields, variant.object(name) as made:
        entry = PluginEntry(
            name,
            fields.text("op"),
            fields.line("layer"),
            fields.texts("inputs", 64),
            fields.items("outputs", 64, PluginOutput.from_json),
            made.integer("workspace"),
            made.items("launches", _MOST, PluginLaunch.from_json),
        )
    limits = {"input": len(entry.inputs), "output": len(entry.outputs)}
    for launch in entry.launches:
        for space, number in launch.arguments:
            if number >= limits.get(space, number + 1):
                made.fail("launches", f"launches on the {limits[space]} {space}s of the operator")
    return entry


def _three(fields: Fields, key: str) -> tuple[int, ...]:
    sizes = fields.shape(key, max_rank=3)
    if len(sizes) != 3:
        fields.fail(key, "three sizes")
    return sizes


def _argument(value: Any, where: str) -> tuple[str, int]:
    pair = dict(zip(("space", "number"), value, strict=False)) if isinstance(value, list) else value
    with Fields(pair, where) as fields:
        return fields.choice("space", _SPACES), fields.integer("number")
