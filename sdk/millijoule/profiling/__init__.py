"""Profiling: latency, memory, operations and energy of a loaded bundle on this machine."""

from .baseline import Comparison, check, compare, load_profile
from .profiler import profile
from .result import Profile
from .sizes import SIZES_FORMAT, combinations

__all__ = [
    "SIZES_FORMAT",
    "Comparison",
    "Profile",
    "check",
    "combinations",
    "compare",
    "load_profile",
    "profile",
]
