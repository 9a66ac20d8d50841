#!/usr/bin/env python3
"""Instructions of spike-driven int8 layers on a Cortex-M, against their dense int8 form.

    python benchmarks/cortex_m_kernels.py [--core cortex-m4] [--check] [--json FILE]

The layers are those of kws-digits, their inputs the spikes that its shipped recording causes, frame
by frame; weights are random, which changes no count. The dense form is our packed int8 GEMM on the
same spikes as int8 values. Both give the same int32 sums, which is checked. Counts are exact, from
QEMU's plugin, and hold everything from the spikes to the sums. Instructions are not cycles.

Exit codes: 0, 1 if ``--check`` is given and the spike-driven layers together take more than 60 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mjbench.bare_metal import Call, run_calls
from rich.console import Console
from rich.table import Table

import millijoule as mj
from millijoule.converters.ops import VOCABULARY, TensorType
from millijoule.converters.source import zoo_entries
from millijoule.errors import MjError
from millijoule.targets.kernels import CPU_KERNELS
from millijoule.targets.kernels.gemm import GemmShape
from millijoule.targets.kernels.gemm_s8 import gemm_s8, unit_of
from millijoule.targets.target import get_target

CORES = ("cortex-m4", "cortex-m7", "cortex-m55", "cortex-m3")
GOAL = 0.6
MODEL = "kws-digits"
_SIZES = json.loads((zoo_entries()[MODEL] / "config.json").read_text(encoding="utf-8"))["hparams"]
WIDTH = _SIZES["dim"]
HIDDEN = int(WIDTH * _SIZES["mlp_ratio"])
PATCH = "patch_embed"
#: A layer: the neurons whose spikes it reads, taps, outputs.
Layer = tuple[tuple[str, ...], int, int]


def _block(number: int) -> dict[str, Layer]:
    """The layers of one block."""
    attn, mlp = f"block.{number}.attn", f"block.{number}.mlp"
    return {
        f"{attn}.lmu.W_u": ((f"{attn}.prev_lif",), 1, 1),
        f"{attn}.lmu.W_h": ((f"{attn}.lmu.f_m", f"{attn}.prev_lif"), 1, WIDTH),
        f"{attn}.proj_conv": ((f"{attn}.lmu.f_h",), 1, WIDTH),
        f"{mlp}.fc1_conv": ((f"{mlp}.fc1_lif",), 1, HIDDEN),
        f"{mlp}.fc2_conv": ((f"{mlp}.fc2_lif",), 1, WIDTH),
    }


LAYERS: Mapping[str, Layer] = {
    f"{PATCH}.proj_conv1": ((f"{PATCH}.proj_lif",), 3, WIDTH),
    f"{PATCH}.proj_conv2": ((f"{PATCH}.proj_lif1",), 3, WIDTH),
    f"{PATCH}.proj_conv3": ((f"{PATCH}.proj_lif2",), 3, WIDTH),
    f"{PATCH}.rpe_conv": ((f"{PATCH}.proj_lif3",), 3, WIDTH),
    **{k: layer for i in range(_SIZES["depth"]) for k, layer in _block(i).items()},
    "head": (("head_lif",), 1, 11),
}


@dataclass(frozen=True)
class Row:
    """One layer's figures per frame."""

    layer: str
    inputs: int
    outputs: int
    rate: float
    spiking: float
    dense: float

    @property
    def ratio(self) -> float:
        """Spike-driven over dense."""
        return self.spiking / self.dense

    def to_dict(self) -> dict[str, str | int | float]:
        """Plain data for JSON."""
        return {
            "layer": self.layer,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "spike_rate": self.rate,
            "spiking_instructions": self.spiking,
            "dense_instructions": self.dense,
            "ratio": self.ratio,
        }


def windows(trains: Mapping[str, np.ndarray], sources: Sequence[str], taps: int) -> np.ndarray:
    """Spikes [frames, taps, channels] that a layer sees for every frame of the recording."""
    s = np.concatenate([trains[f"spikes:{name}"][0] for name in sources], axis=-1)
    padded = np.pad(s, ((taps // 2, taps // 2), (0, 0)))
    return np.stack([padded[t : t + taps] for t in range(len(s))])


def calls_of(s: np.ndarray, w: np.ndarray, core: str) -> tuple[Call, Call]:
    """A layer [taps, C, O] in both forms, a row for every frame."""
    isa = get_target(core).isa
    (frames, taps, channels), outputs = s.shape, w.shape[-1]
    bias = np.zeros(outputs, np.int32)
    name, attrs, arrays = (
        ("spike_conv", {"binary": True, "padding": 0}, [s, w])
        if taps > 1
        else ("spike_linear", {"binary": True}, [s, w[0], bias])
    )
    types = [TensorType(a.shape, str(a.dtype)) for a in arrays]
    form = CPU_KERNELS[name](attrs, types, isa)
    spiking = Call(form, arrays, VOCABULARY[name].results(attrs, types))

    x, depth = s.reshape(frames, 1, taps * channels).astype(np.int8), taps * channels
    packed = unit_of(isa).pack(w.reshape(depth, outputs))
    packed_type = TensorType(packed.shape, str(packed.dtype))
    result = TensorType((frames, 1, outputs), "int32")
    shape = GemmShape(frames, 1, depth, outputs)
    dense = gemm_s8(shape, TensorType(x.shape, "int8"), packed_type, [], result, [], isa)
    return spiking, Call(dense, [x, packed], [result])


def measure(core: str, folder: Path) -> list[Row]:
    """Count every layer in both forms."""
    trains = mj.convert(MODEL).sample_outputs
    rng = np.random.default_rng(0)
    rows = []
    for layer, (sources, taps, outputs) in LAYERS.items():
        s = windows(trains, sources, taps)
        frames, _, channels = s.shape
        w = rng.integers(-127, 128, (taps, channels, outputs)).astype(np.int8)
        spiking, dense = run_calls(core, calls_of(s, w, core), folder / layer)
        if not (spiking.results[0] == dense.results[0]).all():
            raise AssertionError(f"[{layer}] the two forms differ")
        counts = spiking.instructions / frames, dense.instructions / frames
        rows.append(Row(layer, taps * channels, outputs, float(s.mean()), *counts))
    return rows


def total(rows: Sequence[Row]) -> Row:
    """All layers together."""
    spikes = sum(row.rate * row.inputs for row in rows)
    inputs = sum(row.inputs for row in rows)
    counts = sum(row.spiking for row in rows), sum(row.dense for row in rows)
    return Row("all", inputs, sum(row.outputs for row in rows), spikes / inputs, *counts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--core", choices=CORES, default="cortex-m4")
    parser.add_argument("--check", action="store_true", help=f"exit 1 beyond {GOAL:.0%}%")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the table to FILE, too")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")  # torch.export
    with tempfile.TemporaryDirectory(prefix="mjbench-") as work:
        rows = measure(options.core, Path(work))
    rows.append(total(rows))
    table = Table("layer", "size", "spikes", "spiking", "dense", "ratio", title=options.core)
    for row in rows:
        size = f"{row.inputs}→{row.outputs}"
        counts = f"{row.spiking:,.0f}", f"{row.dense:,.0f}"
        table.add_row(row.layer, size, f"{row.rate:.1%}", *counts, f"{row.ratio:.1%}")
    Console().print(table)
    if options.json:
        layers = [row.to_dict() for row in rows]
        document = {"core": options.core, "model": MODEL, "goal": GOAL, "layers": layers}
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return int(options.check and rows[-1].ratio > GOAL)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MjError as error:
        print(f"cortex_m_kernels: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
