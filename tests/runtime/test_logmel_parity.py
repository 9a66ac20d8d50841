"""The C log-mel front end gives what NumPy's does, and the same however samples arrive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.logmel import FRONTEND, RECORDINGS, HostLogMel, assert_parity, pcm, signals
from millijoule.audio import LogMel, LogMelFrontend

SIGNALS = signals()
OTHERS = {
    "8 kHz": LogMel(sample_rate=8_000, n_mels=20, fft=256, high_hz=3_800.0, window_ms=20.0),
    "odd lengths": LogMel(window_ms=20.0625, shift_ms=7.0625, fft=1024, n_mels=64, std=2.0),
    "no pre-emphasis": LogMel(preemphasis=0.0, mean=-3.0, std=4.0, floor=1e-4),
    "shortest transform": LogMel(8_000, 3, 1.5, 1.0, fft=16, low_hz=200.0, high_hz=4_000.0),
    "longest transform": LogMel(fft=8_192, n_mels=80),
    "widest": LogMel(low_hz=0.0, high_hz=8_000.0, n_mels=32),
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> HostLogMel:
    return HostLogMel(FRONTEND, tmp_path_factory.mktemp("frontend"))


@pytest.mark.parametrize("name", SIGNALS)
def test_signals(host: HostLogMel, name: str) -> None:
    assert_parity(host(SIGNALS[name]), SIGNALS[name], FRONTEND)


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_recordings(host: HostLogMel, recording: Path) -> None:
    waveform = pcm(recording)
    assert_parity(host(waveform), waveform, FRONTEND)


@pytest.mark.parametrize("block", [1, 7, 159, 160, 1_000, 8_000])
def test_blocks_of_any_size(host: HostLogMel, block: int) -> None:
    waveform = SIGNALS["noise"]
    np.testing.assert_array_equal(host(waveform, block), host(waveform))


def test_less_than_a_frame(host: HostLogMel) -> None:
    assert host(SIGNALS["noise"][:399]).shape == (0, 40)
    assert host(SIGNALS["noise"][:400]).shape == (1, 40)


@pytest.mark.parametrize("features", OTHERS.values(), ids=OTHERS)
def test_other_front_ends(features: LogMel, tmp_path: Path) -> None:
    entry = LogMelFrontend(features).to_manifest()
    found = HostLogMel(entry, tmp_path)(SIGNALS["noise"])
    assert_parity(found, SIGNALS["noise"], entry)
