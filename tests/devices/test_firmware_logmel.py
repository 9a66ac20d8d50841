"""The C log-mel front end on emulated cores: with and without an FPU, with and without vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.devices import require
from fixtures.firmware import emulate, link
from fixtures.logmel import FRONTEND, RECORDINGS, assert_parity, pcm, signals, write_sources


@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55"])
def test_parity_with_numpy(core: str, tmp_path: Path) -> None:
    require(f"qemu:{core}")
    sources = [*write_sources(FRONTEND, tmp_path), Path(__file__).with_name("logmel_main.c")]
    image = link(core, sources, tmp_path / "logmel.elf", f"-I{tmp_path}")
    waveforms = {path.stem: pcm(path) for path in RECORDINGS} | signals(4_000)
    for name, waveform in waveforms.items():
        samples, features = tmp_path / f"{name}.pcm".replace(" ", "-"), tmp_path / "features"
        waveform.tofile(samples)
        done = emulate(core, image, samples, features)
        assert done.returncode == 0, done.stderr
        assert_parity(np.fromfile(features, np.float32).reshape(-1, 40), waveform, FRONTEND)
