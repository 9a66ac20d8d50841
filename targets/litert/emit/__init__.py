"""The emitter table of TFLite, one file per group of operators."""

from __future__ import annotations

from millijoule.targets.graph import Table
from millijoule.targets.litert.emit import elementwise, indexing, layers, reductions, shapes

TABLE: Table = {
    **elementwise.emits.table,
    **shapes.emits.table,
    **indexing.emits.table,
    **reductions.emits.table,
    **layers.emits.table,
}

__all__ = ["TABLE"]
