"""Core ML programs: predicted by Core ML on a Mac, calculated by `MilEvaluator` anywhere.

The evaluator reads the *saved* package, as Core ML would, and calculates it operator by operator in
the types that it says (`functions`). It checks the graph; it is not Apple's runtime.
"""

from .coreml import CoremlProgram
from .evaluator import MilEvaluator

__all__ = ["CoremlProgram", "MilEvaluator"]
