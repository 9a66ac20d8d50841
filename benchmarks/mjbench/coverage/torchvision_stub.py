"""A stand-in for ``torchvision``, which timm imports but needs for none of the models listed here.

There is no torchvision for every torch that Millijoule is tested with. Every name in it is an empty
class: importing works, and so do ``isinstance`` checks; using one as an operator fails at once.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_MODULES = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.datasets.folder",
    "torchvision.models",
    "torchvision.models.feature_extraction",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)


class _Enumeration(type):
    """Any attribute of such a class is its own name, as if it were an enumeration's member."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Empty(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Enumeration(name, (), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


@contextmanager
def torchvision_stub() -> Iterator[None]:
    """While inside, ``import torchvision`` gives the stand-in, unless the package is installed."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        yield
        return
    for name in _MODULES:
        module = _Empty(name)
        module.__path__ = []
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    try:
        yield
    finally:
        for name in _MODULES:
            sys.modules.pop(name, None)
