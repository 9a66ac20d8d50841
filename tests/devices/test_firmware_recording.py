"""From a WAV file to the C header that keyword-spotting firmware plays."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from fixtures.firmware import EXAMPLES
from fixtures.logmel import RECORDINGS, pcm

SCRIPT = EXAMPLES / "kws_cortex_m" / "recording.py"


def convert(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_samples_are_the_recording_resampled(tmp_path: Path) -> None:
    header = tmp_path / "recording.h"
    done = convert(RECORDINGS[0], "-o", header, "--keyword", 'say "eight"')
    assert done.returncode == 0, done.stderr
    assert "samples at 16000 Hz (recorded at 8000 Hz)" in done.stdout
    text = header.read_text()
    body = re.search(r"recording\[RECORDING_SAMPLES\] = \{(.*?)\};", text, re.DOTALL)
    assert body
    samples = np.array([int(word) for word in body[1].split(",")], np.int16)
    np.testing.assert_array_equal(samples, pcm(RECORDINGS[0]))
    assert f"#define RECORDING_SAMPLES {samples.size}u" in text
    assert "#define RECORDING_SAMPLE_RATE 16000" in text
    assert r'#define RECORDING_KEYWORD "say \"eight\""' in text
    assert not list(tmp_path.glob("*.tmp"))


def test_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"no recording")
    for source in (tmp_path / "noise.wav", tmp_path / "missing.wav"):
        done = convert(source, "-o", tmp_path / "recording.h")
        assert done.returncode == 2
        assert done.stderr.startswith("recording.py: [")
        assert len(done.stderr.splitlines()) == 1
    assert convert(RECORDINGS[0], "-o", tmp_path / "r.h", "--rate", "100").returncode == 2
    assert not (tmp_path / "recording.h").exists()
