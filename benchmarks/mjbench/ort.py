"""ONNX Runtime peers: CPU provider, all graph optimisations, buffers bound once."""

from __future__ import annotations

import numpy as np
import onnxruntime

from mjbench.onnx_plain import Graph, zero_early

SETUP = "CPUExecutionProvider, ORT_ENABLE_ALL, IO binding, threads stop spinning after each run"


def open_session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session with ``threads`` intra-op threads.

    Threads spin while a run lasts, as by default, but not after it: that would cost the next
    contender.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def call_cost_model(inputs: dict[str, list[int]]) -> bytes:
    """A graph that only passes ``inputs`` on: what a call costs before anything is computed."""
    graph = Graph()
    for name in inputs:
        graph.add("Identity", name, out=f"{name}_out")
    return graph.model(inputs, {f"{name}_out": shape for name, shape in inputs.items()})


class Sequence:
    """A model with input ``x`` and one output, both in bound buffers."""

    def __init__(self, model: bytes, threads: int, x: np.ndarray, output: str = "logits") -> None:
        self._session = open_session(model, threads)
        self._binding = self._session.io_binding()
        self._x = x
        shape = self._session.get_outputs()[0].shape
        self.logits = np.zeros(shape, np.float32)
        bind_input(self._binding, "x", self._x)
        bind_output(self._binding, output, self.logits)

    def run(self) -> None:
        """One run; ``logits`` holds the result."""
        self._session.run_with_iobinding(self._binding)


class Step:
    """The step form: two banks of states, bound once each, so a step copies only its frame."""

    def __init__(self, model: bytes, states: dict[str, list[int]], features: int) -> None:
        self._session = open_session(model, threads=1)
        self._banks = [{n: np.zeros(s, np.float32) for n, s in states.items()} for _ in range(2)]
        self._x, self._weight = np.zeros((1, features), np.float32), np.zeros((1, 1), np.float32)
        self.logits = np.zeros(states["total"], np.float32)
        self._bindings = []
        for old, new in (self._banks, self._banks[::-1]):
            binding = self._session.io_binding()
            bind_input(binding, "x", self._x)
            bind_input(binding, "weight", self._weight)
            bind_output(binding, "logits", self.logits)
            for name in states:
                bind_input(binding, name, old[name])
                bind_output(binding, f"{name}_out", new[name])
            self._bindings.append(binding)
        self._now = 0

    def reset(self) -> None:
        """Back to the initial states."""
        self._now = 0
        for bank in self._banks:
            for state in bank.values():
                state[...] = 0

    def step(self, frame: np.ndarray) -> np.ndarray:
        """Frame [1, F] → prefix logits [1, C], a buffer that the next step overwrites."""
        now = self._now
        self._x[...] = frame
        self._weight[0, 0] = 1 / max(now - 4, 1)
        self._session.run_with_iobinding(self._bindings[now % 2])
        if now < 5:
            zero_early(self._banks[1 - now % 2], now)
        self._now = now + 1
        return self.logits


def bind_input(binding: onnxruntime.IOBinding, name: str, array: np.ndarray) -> None:
    """Let the graph read ``array`` where it lies."""
    binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)


def bind_output(binding: onnxruntime.IOBinding, name: str, array: np.ndarray) -> None:
    """Let the graph write into ``array``."""
    binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
