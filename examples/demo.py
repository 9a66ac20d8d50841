"""The main job on real input: a spiking keyword spotter from checkpoint to profile.

    python examples/demo.py [--out FOLDER]

Builds `kws-digits` for this machine, verifies it, runs it on recordings of a real person, streams
one of them frame by frame, profiles a step and writes an HTML report. Then the same model for a
Cortex-M4, in 8-bit integers, on an emulated one. Every command is printed, so that you can run it
yourself.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

import millijoule as mj
from millijoule.converters.source import zoo_entries
from millijoule.inputs import read_inputs
from millijoule.remote import get_device
from millijoule.remote.packages import apt_line

MODEL, DEVICE = "kws-digits", "qemu:cortex-m4"
SHOW_EVERY = 10  # frames


def command(*arguments: str | Path) -> None:
    """Print and run one `mj` command, in a process of its own; stop the demo if it fails."""
    words = [str(a) for a in arguments]
    print(f"\n$ mj {shlex.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "millijoule", *words], check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def stream(bundle: Path, recording: Path) -> None:
    """Feed ``recording`` one 10 ms frame at a time and show how the decision forms."""
    print(f"\nStreaming {recording.name}, one frame at a time:", flush=True)
    with mj.load(bundle) as session:
        labels = session.manifest.model.labels or ()
        frames = read_inputs(recording, session.manifest)["x"][0]
        with session.stream() as steps:
            outputs = [steps.step({"x": frame[np.newaxis]}) for frame in frames]
            outputs += steps.flush()
    prefix = [y["logits"][0] for y in outputs if y is not None]
    for t in range(SHOW_EVERY - 1, len(prefix), SHOW_EVERY):
        chances = np.exp(prefix[t] - prefix[t].max())
        chances /= chances.sum()
        best = int(chances.argmax())
        bar = "█" * round(30 * float(chances[best]))
        print(f"  {10 * (t + 1):5d} ms  {labels[best]:<8} {bar} {chances[best]:.0%}")


def microcontroller(bundle: Path, report: Path) -> None:
    """Build for a Cortex-M4, check it there, and count its instructions."""
    device = get_device(DEVICE)
    if missing := device.missing():
        print(f"\n*** Left out: {DEVICE} needs {', '.join(missing)}; as root: {apt_line(missing)}")
        return
    target = device.targets[0]
    command("build", MODEL, "--target", target, "--dtype", "int8", "--streaming", "-o", bundle)
    command("verify", bundle, "--device", DEVICE)
    command("profile", bundle, "--device", DEVICE, "--html", report)


def run() -> None:
    """The demo, start to end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder to write to")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    whole, step, report = out / "kws.mjb", out / "kws-stream.mjb", out / "report.html"
    recordings = sorted((zoo_entries()[MODEL] / "recordings").glob("*.wav"))

    command("build", MODEL, "-o", whole)
    command("build", MODEL, "--streaming", "-o", step)
    command("verify", whole)
    command("verify", step)
    for recording in recordings:
        command("run", whole, "--inputs", recording)
    stream(step, recordings[0])
    command("profile", step, "--html", report, "--json", out / "profile.json")
    on_device = out / "report-cortex-m4.html"
    microcontroller(out / "kws-m4.mjb", on_device)
    made = [str(path) for path in (report, on_device) if path.exists()]
    print(f"\nReports to open in a browser: {', '.join(made)}.")


if __name__ == "__main__":
    run()
