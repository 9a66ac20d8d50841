"""Target ``coreml``: models as ``.mlpackage`` (mlprogram, iOS 17 or 18), written from Relax.

Signs are stored in one bit per weight (two where some are zero) as look-up tables, exactly. States
of a streaming program are explicit inputs and outputs; a loop along time is a ``while_loop``. On a
Mac, Core ML predicts; anywhere, the device ``mil-evaluator`` calculates the *saved* program.
"""

from millijoule.targets.coreml.emit import TABLE
from millijoule.targets.coreml.write import CoremlGraph, coreml_graph

__all__ = ["TABLE", "CoremlGraph", "coreml_graph"]
