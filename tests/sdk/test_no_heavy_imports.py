"""On a device there is Python and NumPy: everything a device does must work with nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PRELUDE = """
import sys, time

HEAVY = {"torch", "tvm", "tvm_ffi", "rich", "jinja2", "scipy", "matplotlib", "safetensors"}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"{name} is not installed on this device")

sys.meta_path.insert(0, Blocked())
bundle, streaming = sys.argv[1:]
"""

LIBRARY = """
import numpy as np
import millijoule as mj

start = time.process_time()
session = mj.load(bundle)
inputs, outputs = session.bundle.samples()
result = session.run(inputs)
spent = time.process_time() - start
np.testing.assert_allclose(result["y"], outputs["y"])
with mj.load(streaming) as session, session.stream() as stream:
    frames = session.bundle.samples()[0]["x"]
    stream.step({"x": frames[:, 0]})
    stream.flush()
loaded = HEAVY.intersection(name.partition(".")[0] for name in sys.modules)
host = [name for name in sys.modules if name.startswith(("millijoule.conv", "millijoule.targ"))]
lazy = [name for name in ("millijoule.profiling", "millijoule.cli") if name in sys.modules]
assert not loaded and not host and not lazy, (loaded, host, lazy)
assert spent < 0.15, f"load and first inference took {spent} s of CPU time"
"""

COMMANDS = """
from millijoule.cli import main

for path in (bundle, streaming):
    for argv in (["run", path], ["verify", path], ["inspect", path]):
        assert main(argv) == 0, argv
assert main(["profile", bundle, "--duration", "0.01", "--energy", "off"]) == 0
assert main(["doctor"]) == 0
"""


def run(code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a Python where heavy packages cannot be imported."""
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_library(tiny_path: Path, tiny_streaming_path: Path) -> None:
    done = run(LIBRARY, tiny_path, tiny_streaming_path)
    assert done.returncode == 0, done.stderr


def test_commands(tiny_path: Path, tiny_streaming_path: Path) -> None:
    done = run(COMMANDS, tiny_path, tiny_streaming_path)
    assert done.returncode == 0, done.stderr
    assert "pass" in done.stdout
