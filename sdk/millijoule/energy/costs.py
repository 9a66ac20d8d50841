"""Energy prices of operations and memory accesses, by named table.

``horowitz-isscc14-45nm``: M. Horowitz, "Computing's energy problem (and what we can do about it)",
ISSCC 2014, rough energy per operation in 45 nm CMOS at 0.9 V. Its cache and DRAM rows are for
64-bit accesses; here they are divided by 8 bytes.
``snn-papers``: the convention of the spiking-network literature: 4.6 pJ for a multiply-accumulate
and 0.9 pJ for an accumulate (the float32 rows of the first table), no price for memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import UsageError


@dataclass(frozen=True)
class MemoryLevel:
    """Energy of a byte moved to or from one level.

    Attributes:
        name: For the report.
        capacity_bytes: Largest data that fits; ``None`` for main memory.
        low_pj, high_pj: Range of the price per byte in pJ.
    """

    name: str
    capacity_bytes: int | None
    low_pj: float
    high_pj: float


@dataclass(frozen=True)
class CostTable:
    """Prices of one source.

    Attributes:
        name: What reports call it.
        source: Citation.
        multiply_pj, add_pj: Price per operation in pJ, by dtype of the operands.
        binary_pj: Price of one 1-bit multiply-accumulate (XNOR + popcount), ``None`` if unpriced.
        memory: Levels from small to large; empty when the table prices no memory.
        leaves_out: What an estimate from this table does not contain.
    """

    name: str
    source: str
    multiply_pj: Mapping[str, float]
    add_pj: Mapping[str, float]
    binary_pj: float | None
    memory: tuple[MemoryLevel, ...] = ()
    leaves_out: tuple[str, ...] = field(default=())

    def level_for(self, bytes_: int) -> MemoryLevel | None:
        """The smallest level that holds ``bytes_`` bytes; None without memory prices."""
        fits = (m for m in self.memory if m.capacity_bytes is None or bytes_ <= m.capacity_bytes)
        return next(fits, None)


_DTYPES = ("float32", "float16", "int8", "int32")
_ACCESS_BYTES = 8
_INT32_ADD_PJ = 0.1

HOROWITZ = CostTable(
    name="horowitz-isscc14-45nm",
    source="M. Horowitz, Computing's energy problem, ISSCC 2014 (45 nm, 0.9 V)",
    multiply_pj={"float32": 3.7, "float16": 1.1, "int8": 0.2, "int32": 3.1},
    # int8 weights and products of int8 numbers are accumulated in 32 bits.
    add_pj={"float32": 0.9, "float16": 0.4, "int8": _INT32_ADD_PJ, "int32": _INT32_ADD_PJ},
    # Not in the table: 32 lanes of one 32-bit XOR and one 32-bit add in place of the popcount,
    # each at the price of an int32 add.
    binary_pj=2 * _INT32_ADD_PJ / 32,
    memory=(
        MemoryLevel("8 KB cache", 8 << 10, 10 / _ACCESS_BYTES, 10 / _ACCESS_BYTES),
        MemoryLevel("32 KB cache", 32 << 10, 20 / _ACCESS_BYTES, 20 / _ACCESS_BYTES),
        MemoryLevel("1 MB cache", 1 << 20, 100 / _ACCESS_BYTES, 100 / _ACCESS_BYTES),
        MemoryLevel("DRAM", None, 1300 / _ACCESS_BYTES, 2600 / _ACCESS_BYTES),
    ),
    leaves_out=(
        "instruction fetch, decode and control (about 70 pJ per instruction in the same source)",
        "register files, leakage, clock tree, voltage conversion, board",
        "any process other than 45 nm",
    ),
)

SNN_PAPERS = CostTable(
    name="snn-papers",
    source="4.6 pJ per multiply-accumulate, 0.9 pJ per accumulate, as in spiking-network papers",
    multiply_pj=dict.fromkeys(_DTYPES, 3.7),
    add_pj=dict.fromkeys(_DTYPES, 0.9),
    binary_pj=None,
    leaves_out=("all memory traffic", *HOROWITZ.leaves_out),
)

TABLES = {table.name: table for table in (HOROWITZ, SNN_PAPERS)}


def cost_table(name: str) -> CostTable:
    """The table called ``name``. Raises UsageError with the valid names."""
    if name not in TABLES:
        raise UsageError(f"[energy] unknown cost table {name!r}; use one of: {', '.join(TABLES)}")
    return TABLES[name]
