"""Instructions that schedules of CPUs may hold (VNNI, SDOT), without those of GPUs.

TVM's package of them parses hundreds of functions when it is imported, most for GPUs and Hexagon:
some 17 seconds, and TVM's search imports it in every process of its own. Those of CPUs take 1.5.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec

_PACKAGE = "tvm.s_tir.tensor_intrin"
_OF_CPUS = ("x86", "arm_cpu")


def load_cpu_intrinsics() -> None:
    """Make TVM know the instructions of CPUs."""
    with only_cpu_intrinsics():
        pass


@contextmanager
def only_cpu_intrinsics() -> Iterator[None]:
    """Inside, whoever imports TVM's whole package gets the instructions of CPUs alone.

    Afterwards it is as if nobody had: an import then loads the rest.
    """
    spec = None if _PACKAGE in sys.modules else find_spec(_PACKAGE)
    if spec is None:  # all of it is there
        import_module(_PACKAGE)
        yield
        return
    sys.modules[_PACKAGE] = module_from_spec(spec)  # its own code, which loads all, does not run
    try:
        for name in _OF_CPUS:
            import_module(f"{_PACKAGE}.{name}")
        yield
    finally:
        del sys.modules[_PACKAGE]
