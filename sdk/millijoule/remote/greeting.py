"""What a program inside an emulator says of itself first; nothing is trusted before it fits."""

from __future__ import annotations

import struct

from ..bundle import Manifest
from ..errors import BundleError, DeviceError

__all__ = ["check_greeting"]

#: What the frame SIZES of runner/runner.c holds, in order; the size of a context follows.
_SIZE_NAMES = (
    "abi",
    "inputs",
    "outputs",
    "states",
    "kernels",
    "weights_bytes",
    "arena.bytes",
    "arena.workspace_bytes",
    "arena.state_bytes",
    "streaming.delay",
    "input bytes",
    "output bytes",
    "state bytes",
)


def check_greeting(payload: bytes, manifest: Manifest) -> None:
    """The program behind ``payload`` must be the one that ``manifest`` describes.

    Raises:
        DeviceError: a runner of another version.
        BundleError: another program.
    """
    if len(payload) != 8 * (len(_SIZE_NAMES) + 1):
        raise DeviceError("[device] the runner speaks another protocol; reinstall Millijoule")
    found = struct.unpack(f"<{len(_SIZE_NAMES) + 1}q", payload)
    for name, is_, said in zip(_SIZE_NAMES, found, _sizes(manifest), strict=False):
        if is_ != said:
            raise BundleError(f"the program says {name} is {is_}, but the manifest says {said}")


def _sizes(manifest: Manifest) -> list[int]:
    """What the program must say of itself, in the order of :data:`_SIZE_NAMES`."""
    streaming = manifest.streaming
    states = streaming.states if streaming else ()
    return [
        manifest.program.abi,
        len(manifest.inputs),
        len(manifest.outputs),
        len(states),
        len(manifest.kernels),
        manifest.files[manifest.program.weights].bytes,
        manifest.arena.bytes,
        manifest.arena.workspace_bytes,
        manifest.arena.state_bytes,
        streaming.delay if streaming else 0,
        sum(spec.nbytes for spec in manifest.inputs),
        sum(spec.nbytes for spec in manifest.outputs),
        sum(state.nbytes for state in states),
    ]
