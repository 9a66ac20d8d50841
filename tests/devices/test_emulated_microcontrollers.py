"""Golden models on emulated microcontrollers: what this machine computes, spike for spike.

Emulated Linux cores have tests of their own (`test_linux_goldens.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import millijoule as mj
from fixtures.devices import require
from fixtures.models import LMUFORMER, Golden, golden_bundle
from millijoule.verification import verify

CORES = ("cortex-m4", "cortex-m7", "cortex-m55")
SMALLEST, ATTENTION, SPIKING = LMUFORMER[-1], LMUFORMER[3], LMUFORMER[1]
STREAMING = ("--streaming",)
INT8 = ("--dtype", "int8")


def cases() -> Iterator[tuple[str, Golden, tuple[str, ...]]]:
    """Every form of every golden on three cores; on the one without FPU the smallest.

    An int8 program expects what the naive integer program gave, so it is checked exactly as well.
    """
    for core in CORES:
        yield core, SPIKING, INT8
        yield core, SPIKING, (*INT8, *STREAMING)
        for golden in LMUFORMER:
            yield core, golden, ()
            if golden is not ATTENTION:  # it attends over the whole sequence
                yield core, golden, STREAMING
    yield "cortex-m3", SMALLEST, ()
    yield "cortex-m3", SMALLEST, STREAMING


def name_of(value: object) -> str:
    """A part of a test's name."""
    if isinstance(value, Golden):
        return value.name
    return "".join(value) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(("core", "golden", "form"), list(cases()), ids=name_of)
def test_device_computes_what_this_machine_does(
    core: str, golden: Golden, form: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Outputs of the authors' code within the tolerance; spikes, and the host's, exactly."""
    require(f"qemu:{core}")
    path = golden_bundle(tmp_path_factory, golden, "--target", core, *form)
    inputs = {"x": golden.inputs["x"]}
    with mj.load(golden_bundle(tmp_path_factory, golden, *form)) as host:
        spikes = [name for name in host.taps if name.startswith("spikes:")]
        assert spikes or golden.name.startswith("lmuformer-plain")
        expected = host.run(inputs, spikes)
    with mj.load(path, device=f"qemu:{core}") as session:
        assert [check for check in verify(session) if not check.passed] == []
        got = session.run(inputs, spikes)
        tolerance = {name: session.manifest.tolerance_of(name) for name in got}
    assert got.keys() == expected.keys()
    for name, value in got.items():
        if name in spikes:
            np.testing.assert_array_equal(value, expected[name], err_msg=name)
        else:  # sums in another order: the tolerance that the bundle itself promises
            np.testing.assert_allclose(
                value, expected[name], rtol=0, atol=tolerance[name], err_msg=name
            )
