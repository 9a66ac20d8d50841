"""``lif`` for GPUs: spikes and integers exact; potentials within the reference's own rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fixtures.gpu import SMS, call_of, check
from fixtures.operands import LIF_RULES, VALID, lif_attrs, lif_fixed_operands, lif_operands
from millijoule.converters.ops.lif import lif_record_reference, lif_reference
from millijoule.converters.ops.lif_fixed import lif_fixed_reference

# of potentials; a spike that differed would be 1 away
POTENTIAL = 2e-6


def test_rules_and_widths(tmp_path: Path) -> None:
    cases = {name: (rule, 7 + i) for i, (name, rule) in enumerate(LIF_RULES.items())}
    cases |= {f"width-{c}": (LIF_RULES["lmuformer"], c) for c in (1, 63, 64, 65, 130)}
    calls = {}
    for name, (rule, channels) in cases.items():
        arrays = lif_operands(rule, channels)
        expected = lif_reference(*arrays, VALID, rule)
        calls[name] = call_of("lif", lif_attrs(rule), [*arrays, VALID], expected, POTENTIAL)
    check(tmp_path, calls)


def test_records_and_float_spikes(tmp_path: Path) -> None:
    calls = {}
    for record, rule in (("before", "lmuformer"), ("after", "nir-cuba")):
        arrays = lif_operands(LIF_RULES[rule], 35, steps=8)
        attrs = {**lif_attrs(LIF_RULES[rule], "float32"), "record": record}
        spikes, *rest = lif_record_reference(*arrays, None, LIF_RULES[rule], record)
        expected = [spikes.astype(np.float32), *rest]
        calls[record] = call_of("lif_record", attrs, arrays, expected, POTENTIAL)
    check(tmp_path, calls, SMS)


def test_integers(tmp_path: Path) -> None:
    calls = {}
    for name in ("lmuformer", "nir-cuba", "snntorch-settle"):
        rule = LIF_RULES[name]
        arrays = [*lif_fixed_operands(rule, 70), VALID]
        expected = lif_fixed_reference(*arrays, rule)
        calls[name] = call_of("lif_fixed", lif_attrs(rule), arrays, expected)
    check(tmp_path, calls)
