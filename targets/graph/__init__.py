"""Writing a model as a graph of somebody else's format: ONNX, MIL, TFLite.

1. `expand` turns the vocabulary into ordinary Relax operators (`forms`), but for the ops that the
   format takes whole, and spikes into float32, the only number all formats can calculate with.
2. `check` names every operator that the format's table lacks, before anything is written.
3. `walk` goes through the bindings in order and calls the table's emitter for each.

A format is one table, operator name → emitter (`Table`), and an `Emitter` that makes inputs,
constants and outputs. The table is also the format's support table.
"""

from millijoule.targets.graph.expand import Expanded, expand
from millijoule.targets.graph.node import Arg, Emitter, Handler, Node, Table, Value, Written
from millijoule.targets.graph.support import Missing, check, check_precision, missing
from millijoule.targets.graph.walk import Graph, walk

__all__ = [
    "Arg",
    "Emitter",
    "Expanded",
    "Graph",
    "Handler",
    "Missing",
    "Node",
    "Table",
    "Value",
    "Written",
    "check",
    "check_precision",
    "expand",
    "missing",
    "walk",
]
