"""Millijoule: efficient transformers on small devices, and what they cost there.

On a device, loading and running a bundle needs the standard library and NumPy only. The host verbs
(``convert``, ``build``) and ``profile`` are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .bundle import Bundle, Manifest, TensorSpec
from .errors import (
    BundleError,
    DeviceError,
    MjError,
    ModelError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from .session import Session, Stream, load
from .sizes import Dim
from .version import __version__

if TYPE_CHECKING:
    from .converters import convert
    from .profiling import profile
    from .targets import build

__all__ = [
    "Bundle",
    "BundleError",
    "DeviceError",
    "Dim",
    "Manifest",
    "MjError",
    "ModelError",
    "Session",
    "Stream",
    "TensorSpec",
    "UnsupportedError",
    "UsageError",
    "VerificationError",
    "__version__",
    "build",
    "convert",
    "load",
    "profile",
]

_LAZY = {
    "build": "millijoule.targets",
    "convert": "millijoule.converters",
    "profile": "millijoule.profiling",
}


def __getattr__(name: str) -> Any:
    """Host verbs, imported at first use (PEP 562)."""
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
