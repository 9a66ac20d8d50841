"""What a profile says of the bundle that it is of."""

from __future__ import annotations

from typing import Any

from ..bundle import Manifest

__all__ = ["describe"]

_MODEL = ("name", "family", "variant", "parameters", "source", "hparams")


def describe(manifest: Manifest) -> dict[str, Any]:
    """The parts of the manifest that tell one bundle from another."""
    plain = manifest.to_json()
    return {
        "model": {name: plain["model"][name] for name in _MODEL},
        "target": plain["target"],
        "toolchain": plain["toolchain"],
        "files": plain["files"],
        "quantization": plain["quantization"],
    }
