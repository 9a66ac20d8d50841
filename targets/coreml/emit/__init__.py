"""The emitter table of MIL, one file per group of operators."""

from __future__ import annotations

from millijoule.targets.coreml.emit import elementwise, indexing, layers, reductions, shapes
from millijoule.targets.graph import Table

TABLE: Table = {
    **elementwise.emits.table,
    **shapes.emits.table,
    **indexing.emits.table,
    **reductions.emits.table,
    **layers.emits.table,
}

__all__ = ["TABLE"]
