"""mj run: run a bundle on inputs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bundle import npz_bytes
from ..files import atomic_write
from ..inputs import inputs_for
from ..session import Session, load
from .console import Console
from .options import add_bundle, add_device, add_inputs, add_threads, positive

__all__ = ["add_arguments", "execute"]

_MAX_ROWS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``mj run``."""
    add_bundle(parser)
    add_inputs(parser)
    add_threads(parser)
    add_device(parser)
    parser.add_argument("--outputs", metavar="FILE", help="write outputs and taps to an .npz file")
    parser.add_argument(
        "--taps", metavar="NAME,…|all", default="", help="also read these intermediate values"
    )
    parser.add_argument(
        "--top", type=positive, default=5, metavar="K", help="classes to print per row"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run once and show the results."""
    with load(arguments.bundle, arguments.threads, arguments.device) as session:
        inputs = (
            inputs_for(arguments.inputs, session.bundle)
            if arguments.inputs
            else session.bundle.samples()[0]
        )
        results = session.run(inputs, _tap_names(arguments.taps, session))
        if arguments.outputs:
            with atomic_write(arguments.outputs) as stream:
                stream.write(npz_bytes(results))
        ranked = _classes(session, results, arguments.top)
        if ranked is None:
            console.table(("output", "dtype", "shape", "min", "max", "mean"), _statistics(results))
        else:
            _print_classes(console, ranked)
        console.json({"outputs": _as_json(results), "classes": ranked})
    return 0


def _tap_names(text: str, session: Session) -> list[str]:
    if text == "all":
        return list(session.taps)
    return [name.strip() for name in text.split(",") if name.strip()]


def _classes(
    session: Session, results: Mapping[str, np.ndarray], top: int
) -> list[list[dict[str, Any]]] | None:
    """The ``top`` best classes of every row, or None if the model is not a classifier."""
    model, streaming = session.manifest.model, session.manifest.streaming
    name = streaming.final_output if streaming else session.outputs[0].name
    scores = results[name]
    if not model.labels or scores.ndim != 2 or scores.shape[1] != len(model.labels):
        return None
    ranked = []
    for row in scores.astype(np.float64):
        weights = np.exp(row - row.max())
        best = np.argsort(-row, kind="stable")[:top]
        ranked.append(
            [
                {
                    "label": model.labels[index],
                    "index": int(index),
                    "score": _finite(float(row[index])),
                    "softmax": _finite(float(weights[index] / weights.sum())),
                }
                for index in best
            ]
        )
    return ranked


def _print_classes(console: Console, ranked: list[list[dict[str, Any]]]) -> None:
    rows = [
        (number, entry["label"], entry["score"], entry["softmax"])
        for number, entries in enumerate(ranked[:_MAX_ROWS])
        for entry in entries
    ]
    console.table(("row", "label", "score", "softmax"), rows)
    if len(ranked) > _MAX_ROWS:
        console.text(f"… and {len(ranked) - _MAX_ROWS} more rows; --outputs FILE writes them all")


def _statistics(results: Mapping[str, np.ndarray]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for name, value in results.items():
        figures = (float(value.min()), float(value.max()), float(value.mean(dtype=np.float64)))
        rows.append((name, value.dtype.name, str(list(value.shape)), *figures))
    return rows


def _as_json(results: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays with all their values; those that JSON does not know (NaN, infinity) become null."""
    return {
        name: {"dtype": value.dtype.name, "shape": list(value.shape), "values": _listed(value)}
        for name, value in results.items()
    }


def _listed(value: np.ndarray) -> Any:
    if value.dtype.kind != "f":
        return value.tolist()
    numbers = value.astype(object)
    numbers[~np.isfinite(value)] = None
    return numbers.tolist()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
