"""Plans of segments → one `Plan`: what passes between them gets a place in the common arena.

Memory inside a segment is free again behind it. Kernels and constants that are equal are kept once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import relax, tirx
from tvm_ffi import structural_equal, structural_hash

from millijoule.converters.importer import tensor_type
from millijoule.targets.cpu.plan import KernelCall, Plan, Ref, align
from millijoule.targets.jetson.cut import Piece


@dataclass(frozen=True)
class Bound:
    """A region in the joined plan: its calls, and where its inputs and outputs lie."""

    first_call: int
    n_calls: int
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]


@dataclass
class _Room:
    """Bytes in the arena that are taken from segment ``first`` to ``last``."""

    size: int
    first: int
    last: int
    offset: int = 0


def aliased(plan: Plan) -> str:
    """Why an engine could not write every output of a segment itself; "" if it can."""
    for _, source in plan.copies:
        if source.space == "weights":
            return "an output is a constant"
        if source.space == "input":
            return "an output is a view of an input"
        if source.space == "output":
            return "an output is a view of another"
    return ""


def join(
    pieces: Sequence[Piece],
    plans: Sequence[Plan],
    params: Sequence[relax.Var],
    results: Sequence[relax.Var],
) -> tuple[Plan, list[Bound]]:
    """The plan of the whole, and for each piece where it is in it.

    ``params`` and ``results``: of the whole, in order.
    """
    return _Joiner(pieces, plans, params, results).run()


class _Joiner:
    def __init__(
        self,
        pieces: Sequence[Piece],
        plans: Sequence[Plan],
        params: Sequence[relax.Var],
        results: Sequence[relax.Var],
    ) -> None:
        self._pieces, self._plans, self._results = pieces, plans, results
        self._out = Plan(alignment=plans[0].alignment)
        self._places: dict[Any, Ref] = {
            v: Ref("input", i, tensor_type(v)) for i, v in enumerate(params)
        }
        self._symbols: dict[int, list[tuple[tirx.PrimFunc, str]]] = {}
        self._weights: dict[bytes, int] = {}
        self._inside, self._between = self._rooms()
        self._out.planned_bytes = _arrange([*self._inside, *self._between.values()])

    def run(self) -> tuple[Plan, list[Bound]]:
        bounds = [self._append(s) for s in range(len(self._pieces))]
        for index, var in enumerate(self._results):
            place = self._places[var]
            if (place.space, place.offset) != ("output", index):
                self._out.copies.append((index, place))
        return self._out, bounds

    def _rooms(self) -> tuple[list[_Room], dict[Any, _Room]]:
        """Room inside each segment, and of each variable that passes between segments."""
        end = len(self._pieces)
        last: dict[Any, int] = {v: s for s, p in enumerate(self._pieces) for v in p.inputs}
        last |= dict.fromkeys(self._results, end)
        inside = [
            _Room(align(p.planned_bytes, p.alignment), s, s) for s, p in enumerate(self._plans)
        ]
        between: dict[Any, _Room] = {}
        for s in reversed(range(end)):  # so that the life of a view is known before its source's
            piece, plan = self._pieces[s], self._plans[s]
            for number, source in plan.copies:
                until = last[piece.outputs[number]]
                if source.space == "arena":
                    inside[s].last = max(inside[s].last, until)
                elif source.space in ("input", "output"):
                    of = piece.inputs if source.space == "input" else piece.outputs
                    last[of[source.offset]] = max(last.get(of[source.offset], 0), until)
            views = {number for number, _ in plan.copies}
            for number, var in enumerate(piece.outputs):
                if number not in views and var not in self._results:
                    size = align(tensor_type(var).nbytes, plan.alignment)
                    between[var] = _Room(size, s, last[var])
        for var, room in between.items():
            room.last = max(room.last, last[var])
        return inside, between

    def _append(self, s: int) -> Bound:
        """The calls of segment ``s``, behind those before it."""
        piece, plan = self._pieces[s], self._plans[s]
        views = {number for number, _ in plan.copies}
        for number, var in enumerate(piece.outputs):
            if number in views:
                continue
            if var in self._results:
                self._places[var] = Ref("output", self._results.index(var), tensor_type(var))
            else:
                self._places[var] = Ref("arena", self._between[var].offset, tensor_type(var))
        for number, source in plan.copies:
            self._places[piece.outputs[number]] = self._moved(s, source)
        first = len(self._out.calls)
        symbols = {name: self._symbol(name, func) for name, func in plan.kernels.items()}
        self._out.calls += [self._call(s, call, symbols) for call in plan.calls]
        inputs, outputs = (tuple(self._places[v] for v in p) for p in (piece.inputs, piece.outputs))
        return Bound(first, len(plan.calls), inputs, outputs)

    def _call(self, s: int, call: KernelCall, symbols: Mapping[str, str]) -> KernelCall:
        return replace(
            call,
            symbol=symbols[call.symbol],
            args=tuple(self._moved(s, a) if isinstance(a, Ref) else a for a in call.args),
            outputs=tuple(self._moved(s, a) for a in call.outputs),
        )

    def _moved(self, s: int, ref: Ref) -> Ref:
        """Where in the whole ``ref`` of segment ``s`` is."""
        piece, plan = self._pieces[s], self._plans[s]
        if ref.space == "arena":
            return replace(ref, offset=self._inside[s].offset + ref.offset)
        if ref.space == "weights":
            data = bytes(plan.weights[ref.offset : ref.offset + ref.type.nbytes])
            return replace(ref, offset=self._weight(data))
        of = piece.inputs if ref.space == "input" else piece.outputs
        return replace(self._places[of[ref.offset]], type=ref.type)

    def _weight(self, data: bytes) -> int:
        if data not in self._weights:
            blob = self._out.weights
            blob.extend(bytes(align(len(blob), self._out.alignment) - len(blob)))
            self._weights[data] = len(blob)
            blob.extend(data)
        return self._weights[data]

    def _symbol(self, name: str, func: tirx.PrimFunc) -> str:
        """The symbol of ``func`` in the whole; functions that compute the same share one."""
        same = self._symbols.setdefault(structural_hash(func), [])
        for known, symbol in same:
            if structural_equal(known, func):
                return symbol
        symbol = re.sub(r"^mjk_\d+", f"mjk_{len(self._out.kernels)}", name)
        same.append((func, symbol))
        self._out.kernels[symbol] = func
        return symbol


def _arrange(rooms: Sequence[_Room]) -> int:
    """Offsets, the largest room first, each as low as it can lie; returns how much that takes."""
    placed: list[_Room] = []
    for room in sorted(rooms, key=lambda r: -r.size):
        for other in sorted(placed, key=lambda r: r.offset):
            alive = other.first <= room.last and room.first <= other.last
            end = other.offset + other.size
            if alive and other.offset < room.offset + room.size and room.offset < end:
                room.offset = end
        placed.append(room)
    return max((r.offset + r.size for r in placed), default=0)
