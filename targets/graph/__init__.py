"""Writing a model as a graph of somebody else's format: ONNX, MIL, TFLite.

`prepare` turns the vocabulary into ordinary Relax operators (`expand`, `forms`), with spikes as
float32, the only number all formats can calculate with, and names every operator that the format's
table lacks (`support`) before anything is written. `Prepared.emit` then goes through the bindings
in order (`walk`) and calls the table's emitter for each.

A format is one table, operator name → emitter (`Table`), and an `Emitter` that makes inputs,
constants, outputs and loops. The table is also the format's support table.
"""

from millijoule.targets.graph.node import Arg, Emitter, Handler, Node, Table, Value, Written
from millijoule.targets.graph.prepared import Prepared, prepare

__all__ = [
    "Arg",
    "Emitter",
    "Handler",
    "Node",
    "Prepared",
    "Table",
    "Value",
    "Written",
    "prepare",
]
