#!/usr/bin/env python3
"""Write docs/operators.md from the support tables: ``python docs/make_operators.py``."""

from __future__ import annotations

from pathlib import Path

from millijoule.converters.frontends.onnx.load import OPSETS
from millijoule.converters.support import DOORS, Entry, door_operators
from millijoule.targets.support import operators

PAGE = Path(__file__).parent / "operators.md"

_HEAD = f"""# Operators

Made from the tables in the code by `python docs/make_operators.py`; a test keeps it current. The
same lists: `mj targets --ops torch|onnx|tflite`, and `mj targets --ops TARGET` for what a target
has. `mj check SOURCE --target T` holds a model against them without building it.

A conversion is ours where TVM has none, where it leaves the format's meaning, or where its program
could read outside of a tensor; else it is TVM's. Being in a list means that the operator is
converted, not every form of it: a form that cannot be is an error with its place. Sizes are fixed,
or [vary within bounds](your-own-model.md#dynamic-sizes) on CPUs with an operating system. Indices
that pick are clipped to their axis; those that scatter outside are left out.

- **torch**: the names are those after `run_decompositions`; what is not listed, torch may still
  take apart into what is. Assertions about values are left out.
- **ONNX**: opsets {OPSETS.start} to {OPSETS.stop - 1}.
- **TensorFlow Lite**: quantized tensors become float32 first, so every operator is one of floats.
"""

_TITLES = {"torch": "torch.export", "onnx": "ONNX", "tflite": "TensorFlow Lite"}


def _names(entries: list[Entry], support: str) -> str:
    return ", ".join(f"`{e.operator}`" for e in entries if e.support == support) or "none"


def _door(name: str) -> str:
    entries = door_operators(name)
    refused: dict[str, list[str]] = {}
    for entry in entries:
        if entry.support == "refused":
            refused.setdefault(entry.note, []).append(f"`{entry.operator}`")
    lines = [
        f"## {_TITLES[name]}",
        f"**Ours**: {_names(entries, 'millijoule')}.",
        f"**TVM's**: {_names(entries, 'tvm')}.",
        "**Refused by name**:",
        "\n".join(f"- {', '.join(ops)}: {why}." for why, ops in refused.items()),
    ]
    return "\n\n".join(lines)


def _cpu() -> str:
    table = operators("x86-64-v3")
    groups = {
        kind: ", ".join(f"`{op}`" for op, k in table.items() if k == kind)
        for kind in ("kernel", "free", "generated")
    }
    return f"""## CPU targets

Relax operators, and vocabulary ops as `mj.…`. The same for Linux and microcontrollers.

**Kernels of ours**, where shapes and constants allow: {groups["kernel"]}.

**Free** (views): {groups["free"]}.

**Generated** by TVM, correct and without a schedule of ours: {groups["generated"]}."""


def page() -> str:
    """The whole page."""
    return "\n\n".join([_HEAD.rstrip(), *(_door(name) for name in DOORS), _cpu()]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
