"""Profiling: latency, memory, operations and energy of a loaded bundle on this machine."""

from .baseline import Comparison, check, compare, load_profile
from .profiler import profile
from .result import Profile

__all__ = ["Comparison", "Profile", "check", "compare", "load_profile", "profile"]
