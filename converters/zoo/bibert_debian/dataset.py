"""One-line descriptions of Debian's packages, and the section that each package is filed under.

The text comes from the package index of a Debian system (``apt-cache dumpavail``; run ``apt-get
update`` first), section ``main`` only. Packages built from one source are described alike, so whole
sources are held out: those whose name hashes into the last fifth.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

LABELS = ("admin", "fonts", "games", "graphics", "mail", "net", "science", "sound")
HELD_OUT = Path(__file__).parent / "heldout.tsv"
_FIFTHS = 5

Row = tuple[str, int]  # text, index of its label


def read_index() -> str:
    """The index of available packages, as apt prints it."""
    command = ["apt-cache", "dumpavail"]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8")


def rows(index: str) -> Iterator[tuple[str, str, int]]:
    """(source, description, label) of every distinct description of our sections."""
    seen = set()
    for block in index.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", block, re.MULTILINE))
        section, text = fields.get("Section", ""), fields.get("Description", "").strip()
        free = fields.get("Filename", "").startswith("pool/main/")
        if not free or section not in LABELS or not text or text in seen:
            continue
        seen.add(text)
        source = str(fields.get("Source", fields["Package"])).split()[0]
        yield source, text, LABELS.index(section)


def is_held_out(source: str) -> bool:
    """Whether packages of ``source`` are kept from training."""
    return hashlib.sha256(source.encode()).digest()[0] % _FIFTHS == 0


def load() -> tuple[list[Row], list[Row]]:
    """Rows to train with, and held-out rows, from this machine's index."""
    train: list[Row] = []
    held: list[Row] = []
    for source, text, label in rows(read_index()):
        (held if is_held_out(source) else train).append((text, label))
    return train, held


def read_held_out() -> list[Row]:
    """The held-out rows that accuracies in the card are of: ``heldout.tsv``."""
    lines = HELD_OUT.read_text(encoding="utf-8").splitlines()
    return [(text, LABELS.index(label)) for label, text in (line.split("\t") for line in lines)]


def write_held_out(held: list[Row]) -> None:
    """Write ``heldout.tsv``: label and text of each row."""
    lines = [f"{LABELS[label]}\t{text}\n" for text, label in held]
    HELD_OUT.write_text("".join(lines), encoding="utf-8")
