"""``MillijouleKernels`` for TensorRT: a plugin of the version 3 interface, and its creator.

A node of the graph names a set of kernels (``code``) and an operator in it (``entry``); both are
all that an engine keeps of it. The executor offers the sets of the bundles it has opened (`offer`)
before an engine is built or loaded; an engine whose set is not there does not load.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ...bundle import PLUGIN_NAME, PLUGIN_VERSION, PluginEntry
from ...errors import DeviceError
from .kernels import Kernels

__all__ = ["make_creator", "make_plugin_type", "offer", "register"]

_NEEDED = ("IPluginV3", "IPluginV3OneBuild", "IPluginCreatorV3One", "get_plugin_registry")
_FIELDS = ("entry", "code")
_OFFERED: dict[str, Kernels] = {}
_REGISTERED: list[tuple[Any, Any]] = []  # TensorRT keeps no reference to what Python made


def offer(kernels: Kernels) -> None:
    """Let plugins of this process find ``kernels`` by their name."""
    _OFFERED[kernels.name] = kernels


def register(trt: Any) -> None:
    """Tell TensorRT of the plugin, once. DeviceError if it has not the interface."""
    if not all(hasattr(trt, name) for name in _NEEDED):
        raise DeviceError(
            f"[tensorrt] plugins need TensorRT 10.0 or later, but this one is {trt.__version__}"
        )
    if any(module is trt for module, _ in _REGISTERED):
        return
    creator = make_creator(trt)
    if not trt.get_plugin_registry().register_creator(creator, ""):
        raise DeviceError(f"[tensorrt] it does not take the plugin {PLUGIN_NAME}")
    _REGISTERED.append((trt, creator))


class KernelsLayer:
    """One operator; every method is called by TensorRT, whose module is ``trt``."""

    trt: Any = None
    interfaces: tuple[Any, ...] = ()

    def __init__(self, kernels: Kernels, entry: PluginEntry) -> None:
        for interface in self.interfaces:
            interface.__init__(self)
        self.plugin_name, self.plugin_version = PLUGIN_NAME, PLUGIN_VERSION
        self.plugin_namespace = ""
        self.num_outputs = len(entry.outputs)
        self.timing_cache_id = ""  # there is one tactic: nothing to time
        self._kernels, self._entry = kernels, entry

    def get_capability_interface(self, type: Any) -> Any:
        """The core, build and runtime part: all of them this object."""
        return self

    def clone(self) -> Any:
        """Another one of the same operator."""
        return type(self)(self._kernels, self._entry)

    def get_output_data_types(self, input_types: Sequence[Any]) -> list[Any]:
        """Types of the results."""
        return [_dtype(self.trt, output.dtype) for output in self._entry.outputs]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        """Shapes of the results, which are numbers."""
        return [
            self.trt.DimsExprs([builder.constant(size) for size in output.shape])
            for output in self._entry.outputs
        ]

    def supports_format_combination(self, pos: int, in_out: Any, num_inputs: int) -> bool:
        """Rows behind each other, in the very types of the kernels."""
        types = [*self._entry.inputs, *(output.dtype for output in self._entry.outputs)]
        if num_inputs != len(self._entry.inputs):
            return False
        desc = in_out[pos].desc
        linear = desc.format == self.trt.TensorFormat.LINEAR
        return bool(linear and desc.type == _dtype(self.trt, types[pos]))

    def configure_plugin(self, inputs: Any, outputs: Any) -> None:
        """Nothing: shapes are fixed."""

    def get_valid_tactics(self) -> list[int]:
        """One way to run, which needs no number."""
        return []

    def get_workspace_size(self, inputs: Any, outputs: Any) -> int:
        """Bytes that the kernels hand to one another."""
        return self._entry.workspace

    def on_shape_change(self, inputs: Any, outputs: Any) -> None:
        """Nothing: shapes are fixed."""

    def set_tactic(self, tactic: int) -> None:
        """Nothing: there is one."""

    def attach_to_context(self, context: Any) -> Any:
        """One of its own for an execution context."""
        return self.clone()

    def get_fields_to_serialize(self) -> Any:
        """What an engine keeps."""
        trt, values = self.trt, {"entry": self._entry.name, "code": self._kernels.name}
        # TensorRT reads the bytes after this call: they must live as long as the plugin
        self._kept = {name: values[name].encode() for name in _FIELDS}
        return trt.PluginFieldCollection(
            [
                trt.PluginField(name, data, trt.PluginFieldType.CHAR)
                for name, data in self._kept.items()
            ]
        )

    def enqueue(
        self,
        input_desc: Any,
        output_desc: Any,
        inputs: Sequence[int],
        outputs: Sequence[int],
        workspace: int,
        stream: int,
    ) -> None:
        """Launch the kernels on TensorRT's memory and stream."""
        self._kernels.enqueue(self._entry, inputs, outputs, workspace, stream)


@cache
def make_plugin_type(trt: Any) -> type:
    """`KernelsLayer` over the interfaces of ``trt``."""
    names = ("IPluginV3", "IPluginV3OneCore", "IPluginV3OneBuild", "IPluginV3OneRuntime")
    interfaces = tuple(getattr(trt, name) for name in names)

    class KernelsPlugin(KernelsLayer, *interfaces):  # type: ignore[misc]
        """A plugin of this TensorRT."""

    KernelsPlugin.trt, KernelsPlugin.interfaces = trt, interfaces
    return KernelsPlugin


def make_creator(trt: Any) -> Any:
    """A creator of plugins for the registry of ``trt``."""
    made = make_plugin_type(trt)

    class KernelsCreator(trt.IPluginCreatorV3One):
        """Makes plugins of a node's attributes, or of what an engine kept."""

        def __init__(self) -> None:
            super().__init__()
            self.name, self.plugin_version, self.plugin_namespace = PLUGIN_NAME, PLUGIN_VERSION, ""
            self.field_names = trt.PluginFieldCollection(
                [
                    trt.PluginField(name, np.empty(0, np.int8), trt.PluginFieldType.CHAR)
                    for name in _FIELDS
                ]
            )

        def create_plugin(self, name: str, fields: Any, phase: Any) -> Any:
            """The plugin of node ``name``; None, which TensorRT reports, if it has no kernels."""
            values = {field.name: _text(field.data) for field in fields}
            kernels = _OFFERED.get(values.get("code", ""))
            entry = kernels.entries.get(values.get("entry", "")) if kernels else None
            return made(kernels, entry) if entry is not None else None

    return KernelsCreator()


def _dtype(trt: Any, name: str) -> Any:
    return {"float32": trt.DataType.FLOAT, "int32": trt.DataType.INT32}.get(name)


def _text(data: Any) -> str:
    """A text as TensorRT hands it over: bytes or an array of them, a zero behind or not."""
    return bytes(data).rstrip(b"\0").decode("utf-8", "replace")
