"""A static check of lowered kernels: every exchange through shared memory has a barrier in between.

Emulators of GPUs on CPUs run the threads of a block one after another and forgive a missing
barrier; a GPU does not. Nothing is executed here: indices and conditions of the first and the last
block are calculated for all threads at once (`lockstep`), loops stand for their first two and last
rounds, and what comes out of memory counts as anything. Between two barriers

- no thread may read what another one writes, nor two threads write the same element;
- a barrier must be reached by all threads of a block: not behind a condition, nor in a loop, that
  threads may see differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tvm
from tvm import tirx
from tvm_ffi import structural_equal, structural_walk

from millijoule.errors import UnsupportedError
from millijoule.targets.jetson.lockstep import Evaluator, Unknown, Value, is_barrier, varies
from millijoule.targets.jetson.memory import itemsize, nbytes

_NOBODY, _SEVERAL = -1, -2


def check_barriers(module: tvm.IRModule) -> None:
    """UnsupportedError naming the first hazard of the kernels in ``module`` (`cuda.lower`)."""
    for gv, func in module.functions.items():
        problems = find_hazards(func)
        if problems:
            raise UnsupportedError(
                f"[barriers] threads must be kept in step, but kernel {gv.name_hint} {problems[0]}"
            )


def find_hazards(func: tirx.PrimFunc) -> list[str]:
    """What is wrong with one lowered kernel; empty if nothing is."""
    extents = _extents(func.body)
    found: dict[str, None] = {}
    for last in (False, True):
        walker = _Walker(extents, last)
        walker.visit(func.body, np.ones(walker.threads, bool))
        found |= dict.fromkeys(walker.problems)
    return list(found)


def _extents(body: Any) -> dict[str, int]:
    """Threads and blocks along every axis."""
    found: dict[str, int] = {}

    def visit(statement: tirx.AttrStmt) -> None:
        if statement.attr_key == "thread_extent":
            found[str(statement.node.thread_tag)] = int(statement.value)

    structural_walk(body, (tirx.AttrStmt, visit))
    return found


class _Shared:
    """Who has read and who has written each byte of a buffer since the last barrier."""

    def __init__(self, size: int) -> None:
        self.readers = np.full(size, _NOBODY)
        self.writers = np.full(size, _NOBODY)

    def clear(self) -> None:
        self.readers[:] = self.writers[:] = _NOBODY


class _Walker:
    """Goes through the statements of a kernel with the threads of one block in step."""

    def __init__(self, extents: dict[str, int], last: bool) -> None:
        self._extents, self._last = extents, last
        counts = [extents.get(f"threadIdx.{axis}", 1) for axis in "xyz"]
        self.threads = math.prod(counts)
        places = np.unravel_index(np.arange(self.threads), counts[::-1])[::-1]
        self._places = dict(zip("xyz", places, strict=True))
        self._evaluate = Evaluator(self.threads, self._load)
        self._mask = np.ones(self.threads, bool)
        self._maybe = False  # inside of a condition that memory decides, differently per thread
        self._shared: dict[Any, _Shared] = {}
        self._local: dict[Any, bool] = {}  # whether what a private buffer holds may vary
        self.problems: list[str] = []

    # statements

    def visit(self, node: Any, mask: np.ndarray) -> None:
        """Visit a statement that the threads of ``mask`` execute."""
        outer, self._mask = self._mask, mask
        if mask.any():
            getattr(self, f"_on_{type(node).__name__.lower()}")(node)
        self._mask = outer

    def _on_seqstmt(self, node: Any) -> None:
        for part in node.seq:
            self.visit(part, self._mask)

    def _on_declbuffer(self, node: Any) -> None:
        pointer = node.data.args[0] if isinstance(node.data, tvm.ir.Call) else node.data
        if pointer in self._shared:  # a view
            self._shared[node.buffer] = self._shared[pointer]

    def _on_allocbuffer(self, node: Any) -> None:
        if str(node.buffer.scope()).startswith("shared"):
            self._shared[node.buffer] = _Shared(nbytes(node.buffer))

    def _on_attrstmt(self, node: Any) -> None:
        if node.attr_key == "thread_extent":
            kind, axis = str(node.node.thread_tag).split("Idx.")
            last = int(node.value) - 1 if self._last else 0
            value = self._places[axis] if kind == "thread" else self._evaluate.constant(last)
            self._evaluate.values[node.node.var] = value
        self.visit(node.body, self._mask)

    def _on_bind(self, node: Any) -> None:
        self._evaluate.values[node.var] = self._evaluate(node.value)

    def _on_evaluate(self, node: Any) -> None:
        if not is_barrier(node.value):
            self._evaluate(node.value)
            return
        if self._maybe or not self._mask.all():
            self.problems.append("has a barrier that some threads of a block do not reach")
        for shared in self._shared.values():
            shared.clear()

    def _on_ifthenelse(self, node: Any) -> None:
        condition = self._evaluate(node.condition)
        mask, maybe = self._mask, self._maybe
        if isinstance(condition, Unknown):
            self._maybe = maybe or condition.varies
            branches = [(node.then_case, mask), (node.else_case, mask)]
        else:
            branches = [
                (node.then_case, mask & (condition != 0)),
                (node.else_case, mask & (condition == 0)),
            ]
        for branch, active in branches:
            if branch is not None:
                self.visit(branch, active)
        self._maybe = maybe

    def _on_for(self, node: Any) -> None:
        first, extent = self._evaluate(node.min), self._evaluate(node.extent)
        mask, maybe = self._mask, self._maybe
        if isinstance(first, Unknown) or isinstance(extent, Unknown):
            self._maybe = maybe or varies(first) or varies(extent)
            for _ in range(2):
                self._evaluate.values[node.loop_var] = Unknown(varies(first))
                self.visit(node.body, mask)
        else:
            for i in _rounds(int(extent.max(initial=0))):
                self._evaluate.values[node.loop_var] = first + i
                self.visit(node.body, mask & (i < extent))
        self._maybe = maybe

    def _on_while(self, node: Any) -> None:
        maybe = self._maybe
        self._maybe = maybe or varies(self._evaluate(node.condition))
        for _ in range(2):
            self.visit(node.body, self._mask)
        self._maybe = maybe

    def _on_bufferstore(self, node: Any) -> None:
        if _changes_nothing(node):
            return
        index = self._index(node.indices)
        value = self._evaluate(node.value)
        if node.buffer in self._shared:
            self._write(node.buffer, index)
        else:
            partly = self._maybe or not self._mask.all()
            known = self._local.get(node.buffer, False)
            self._local[node.buffer] = known or partly or varies(value) or varies(index)

    # memory

    def _index(self, indices: Any) -> Value:
        assert len(indices) == 1, "buffers of lowered kernels are flat"
        return self._evaluate(indices[0])

    def _load(self, node: Any) -> Value:
        buffer = node.source
        index = self._index(node.indices)
        if buffer in self._shared:
            self._read(buffer, index)
        return Unknown(self._local.get(buffer, False) or varies(index))

    def _touched(self, buffer: Any, index: Value) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(bytes, threads) of an access by the active threads."""
        shared, size = self._shared[buffer], itemsize(buffer)
        if isinstance(index, Unknown):
            who = np.flatnonzero(self._mask)
            every = np.arange(len(shared.readers))
            for thread in who[:1] if len(who) == 1 else who[:2]:
                yield every, np.full(len(every), thread)
            return
        lanes = index if index.ndim == 2 else index[:, None]
        where = (lanes[:, :, None] * size + np.arange(size)).reshape(self.threads, -1)
        active = where[self._mask]
        yield active.ravel(), np.repeat(np.flatnonzero(self._mask), active.shape[1])

    def _read(self, buffer: Any, index: Value) -> None:
        shared = self._shared[buffer]
        for where, who in self._touched(buffer, index):
            writers = shared.writers[where]
            if ((writers != _NOBODY) & (writers != who)).any():
                self.problems.append("reads shared memory where another thread has just written")
            _note(shared.readers, where, who)

    def _write(self, buffer: Any, index: Value) -> None:
        shared = self._shared[buffer]
        for where, who in self._touched(buffer, index):
            for others, what in ((shared.readers, "read"), (shared.writers, "written")):
                noted = others[where]
                if ((noted != _NOBODY) & (noted != who)).any():
                    text = f"writes shared memory where another thread has just {what}"
                    self.problems.append(text)
            _note(shared.writers, where, who)
            if (shared.writers[where] == _SEVERAL).any():
                self.problems.append("writes one element of shared memory in two threads")


def _changes_nothing(store: tirx.BufferStore) -> bool:
    """Whether a store assigns an element to itself: TVM leaves some, and drops them later."""
    load = store.value
    return (
        isinstance(load, tvm.ir.expr.TensorLoad)
        and load.source.same_as(store.buffer)
        and structural_equal(load.indices, store.indices)
    )


def _note(owners: np.ndarray, where: np.ndarray, who: np.ndarray) -> None:
    """Enter threads at bytes; a byte with different ones belongs to `_SEVERAL`."""
    before = owners[where]
    owners[where] = who
    clash = (owners[where] != who) | ((before != _NOBODY) & (before != who))
    owners[where[clash]] = _SEVERAL


def _rounds(extent: int) -> list[int]:
    """The rounds of a loop that stand for all: the first two and the last."""
    return sorted({0, 1, extent - 1} & set(range(extent)))
