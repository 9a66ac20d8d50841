"""Golden models on emulated devices: what this machine computes, spike for spike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import millijoule as mj
from fixtures.devices import EMULATED, require
from fixtures.models import LMUFORMER, Golden, golden_bundle
from millijoule.verification import verify

EVERY_GOLDEN = ("qemu:cortex-a72", "qemu:cortex-m4", "qemu:cortex-m7", "qemu:cortex-m55")
SMALLEST, ATTENTION = LMUFORMER[-1], LMUFORMER[3]
STREAMING = ("--streaming",)


def cases() -> Iterator[tuple[str, Golden, tuple[str, ...]]]:
    """Every form of every golden on four devices; on the others the smallest one."""
    for device in EMULATED:
        for golden in LMUFORMER if device in EVERY_GOLDEN else (SMALLEST,):
            yield device, golden, ()
            if golden is not ATTENTION:  # it attends over the whole sequence
                yield device, golden, STREAMING


@pytest.mark.parametrize(
    ("device", "golden", "form"),
    list(cases()),
    ids=lambda v: v if isinstance(v, str) else v.name if isinstance(v, Golden) else "".join(v),
)
def test_device_computes_what_this_machine_does(
    device: str, golden: Golden, form: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Outputs of the authors' code within the tolerance; spikes, and the host's, exactly."""
    require(device)
    target = device.removeprefix("qemu:")
    path = golden_bundle(tmp_path_factory, golden, "--target", target, *form)
    inputs = {"x": golden.inputs["x"]}
    with mj.load(golden_bundle(tmp_path_factory, golden, *form)) as host:
        spikes = [name for name in host.taps if name.startswith("spikes:")]
        expected = host.run(inputs, spikes)
    with mj.load(path, device=device) as session:
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
