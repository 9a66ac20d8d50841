"""A saved mlprogram, operator by operator in NumPy."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ...bundle import Bundle
from ...errors import DeviceError
from ..graph import GraphExecutor, require_module
from .coreml import as_input, package
from .functions import FUNCTIONS, Held

__all__ = ["MilEvaluator"]


class MilEvaluator(GraphExecutor):
    """Calculates the function ``main`` of the package; see `base.Program`."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, threads)
        ct, milproto = _coremltools()
        folder = package(bundle)
        try:
            spec = ct.utils.load_spec(folder)
            program = milproto.load(
                spec,
                specification_version=spec.specificationVersion,
                file_weights_dir=f"{folder}/Data/com.apple.CoreML/weights",
            )
        except Exception as error:  # coremltools raises whatever its parts do
            raise DeviceError(f"[mil-evaluator] cannot read the package: {error}") from error
        self._main = program.functions["main"]
        self._constants: dict[Any, Any] = {}

    def reset(self) -> None:
        """Put every state back to its initial value, also those that Core ML would keep."""
        super().reset()
        kept = self.kept()
        self._held = {name: Held(np.zeros(shape, np.float16)) for name, shape in kept.items()}

    def infer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Outputs of the program by name."""
        known: dict[Any, Any] = {}
        for name, var in self._main.inputs.items():
            held = self._held.get(name)
            known[var] = as_input(feeds[name]).reshape(var.shape) if held is None else held
        self._block(self._main, known)
        return {var.name: np.asarray(known[var]) for var in self._main.outputs}

    def _block(self, block: Any, known: dict[Any, Any]) -> None:
        """Calculate every operator of ``block`` into ``known``."""
        for op in block.operations:
            if op.op_type == "const":
                known[op.outputs[0]] = op.outputs[0].val
            elif op.op_type == "while_loop":
                self._loop(op, known)
            else:
                results = self._call(op, known)
                for var, value in zip(op.outputs, results, strict=True):
                    known[var] = _typed(value, var)

    def _call(self, op: Any, known: dict[Any, Any]) -> Sequence[Any]:
        function = FUNCTIONS.get(op.op_type)
        if function is None:
            raise DeviceError(
                f"[mil-evaluator] operator {op.op_type} ({op.name}) is not known here"
            )
        inputs = {name: _read(value, known) for name, value in op.inputs.items()}
        if op.op_type.startswith("constexpr_"):  # expanded once
            if op not in self._constants:
                self._constants[op] = function(**inputs)
            result = self._constants[op]
        else:
            result = function(**{k: v for k, v in inputs.items() if v is not None})
        return result if isinstance(result, tuple) else (result,)

    def _loop(self, op: Any, known: dict[Any, Any]) -> None:
        """``while cond(vars): vars = body(vars)``; blocks see what is known outside."""
        values = [_read(v, known) for v in op.loop_vars]
        condition, body = op.blocks
        while True:
            inside = {**known, **dict(zip(condition.inputs, values, strict=True))}
            self._block(condition, inside)
            if not np.all(inside[condition.outputs[0]]):
                break
            inside = {**known, **dict(zip(body.inputs, values, strict=True))}
            self._block(body, inside)
            values = [inside[v] for v in body.outputs]
        for var, value in zip(op.outputs, values, strict=True):
            known[var] = value


def _coremltools() -> tuple[ModuleType, ModuleType]:
    """The package and its reader of programs, without what they say of versions and other tools."""
    remedy = "run: pip install coremltools==9.0"
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ct = require_module("coremltools", "device mil-evaluator", remedy)
            reader = "coremltools.converters.mil.frontend.milproto.load"
            return ct, require_module(reader, "device mil-evaluator", remedy)
    finally:
        logging.disable(logging.NOTSET)


def _read(value: Any, known: dict[Any, Any]) -> Any:
    """An operand: a variable, a list of them, or nothing."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [_read(v, known) for v in value]
    return known[value] if value in known else value.val  # noqa: SIM401 - not every var has one


def _typed(value: Any, var: Any) -> np.ndarray:
    """``value`` rounded to the type that the program says."""
    array = np.asarray(value)
    kinds = {"fp16": np.float16, "fp32": np.float32, "int32": np.int32, "bool": np.bool_}
    name = getattr(var.dtype, "__name__", str(var.dtype))
    return array.astype(kinds.get(name, array.dtype))
