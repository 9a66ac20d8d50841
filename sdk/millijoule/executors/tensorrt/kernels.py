"""Which kernels of a bundle this GPU runs, and running the launches of one operator."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...bundle import Bundle, PluginEntry, PluginTable
from ...errors import BundleError, DeviceError
from .driver import Driver, Module

__all__ = ["Kernels", "load_kernels"]


@dataclass(frozen=True)
class Kernels:
    """Machine code on the GPU with its table. ``name``: what the graph's nodes call the set."""

    name: str
    module: Module
    entries: Mapping[str, PluginEntry]

    def enqueue(
        self,
        entry: PluginEntry,
        inputs: Sequence[int],
        outputs: Sequence[int],
        workspace: int,
        stream: int,
    ) -> None:
        """Launch the kernels of ``entry`` on device memory; the last input is its weights."""
        for launch in entry.launches:
            pointers = [
                inputs[number]
                if space == "input"
                else outputs[number]
                if space == "output"
                else number + (workspace if space == "workspace" else inputs[-1])
                for space, number in launch.arguments
            ]
            sizes = launch.grid, launch.block, launch.shared
            self.module.launch(launch.kernel, *sizes, pointers, stream)


def load_kernels(bundle: Bundle, recipe: Mapping[str, Any], capability: str) -> Kernels:
    """Load the machine code for this GPU; a CUDA context must be current.

    Args:
        recipe: ``plugins`` of the graph's recipe.
        capability: of the GPU, such as "8.7".

    Raises DeviceError if the bundle has no code for it, or the driver refuses it.
    """
    member = recipe.get("table")
    if not isinstance(member, str):
        raise BundleError("[manifest.graph.recipe.plugins] must name a table of kernels")
    data = bundle.read(member)
    table = PluginTable.for_sm(data, int(capability.replace(".", "")))
    if table is None:
        raise DeviceError(
            f"[tensorrt] the bundle has no kernels for compute capability {capability}"
        )
    module = Module(Driver(), bundle.read(table.code))
    for entry in table.entries.values():
        for launch in entry.launches:
            module.function(launch.kernel)
    return Kernels(hashlib.sha256(data).hexdigest(), module, table.entries)
