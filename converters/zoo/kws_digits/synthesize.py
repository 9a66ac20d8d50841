"""Build the speech set: every word spoken by many voices, trimmed, at 16 kHz.

    python -m millijoule.converters.zoo.kws_digits.synthesize SCRATCH [--jobs 2] [--scale 1.0]

Writes one ``SCRATCH/speech/<split>-<engine>-<voice>.npz`` per voice: ``audio`` int16 (all words end
to end), ``start`` int64 ``[n + 1]``, ``word`` str ``[n]``, ``speaker`` str. Voices that exist are
kept, so a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from millijoule.audio import resample

from .engines import (
    KOKORO_VALIDATION,
    NATURAL_VOICES,
    PACKAGES,
    PROGRAMS,
    SPEAK,
    Voice,
    espeak_voices,
    festival_batch,
)
from .engines import installed as engine_installed
from .words import DIGITS, UNKNOWN_WORDS

RATE = 16_000
VALIDATION_SPEAKERS = {"clb", *KOKORO_VALIDATION}
TEST_SPEAKERS = {"rms", "jf_tebukuro", "joe"}
ESPEAK_HELD_OUT = 10  # variants for validation, and as many for test

# Utterances per digit, and per other word, of one voice: the more its engine varies them the more.
PER_DIGIT = {
    "espeak": 20, "flite": 60, "festival": 40, "rhvoice": 60, "pico": 50, "hibari": 100,
    "kokoro": 40, "kokoro-js": 5, "crowd": 50, "piper": 40,
}  # fmt: skip
PER_OTHER = {
    "espeak": 0.4, "flite": 1.5, "festival": 1.0, "rhvoice": 1.5, "pico": 1.5, "hibari": 3.0,
    "kokoro": 1.0, "kokoro-js": 0.1, "crowd": 1.0, "piper": 1.0,
}  # fmt: skip

_SHORTEST, _LONGEST = 0.12, 1.2  # seconds, after trimming; longer or shorter is a failed synthesis


def split_voices(seed: int = 0) -> dict[str, list[Voice]]:
    """Assign whole speakers to ``train``, ``validation`` and ``test``."""
    order = np.random.default_rng(seed).permutation(np.array(espeak_voices(), dtype=object))
    splits = {
        "validation": list(order[:ESPEAK_HELD_OUT]),
        "test": list(order[ESPEAK_HELD_OUT : 2 * ESPEAK_HELD_OUT]),
        "train": list(order[2 * ESPEAK_HELD_OUT :]),
    }
    for voice in NATURAL_VOICES:
        held_out = {"validation": VALIDATION_SPEAKERS, "test": TEST_SPEAKERS}
        name = next((s for s, speakers in held_out.items() if voice.speaker in speakers), "train")
        splits[name].append(voice)
    return splits


def trim(waveform: np.ndarray, rate: int = RATE, margin: float = 0.03) -> np.ndarray:
    """Cut silence off both ends (38 dB below the loudest 10 ms), keeping ``margin`` seconds."""
    hop = rate // 100
    blocks = waveform[: waveform.size // hop * hop].reshape(-1, hop)
    level = np.sqrt(np.mean(blocks.astype(np.float64) ** 2, axis=1))
    loud = np.flatnonzero(level > max(level.max(initial=0.0) * 10 ** (-38 / 20), 1e-5))
    if loud.size == 0:
        return waveform[:0]
    keep = int(margin * rate)
    return waveform[max(0, loud[0] * hop - keep) : (loud[-1] + 1) * hop + keep]


def word_list(engine: str, scale: float, rng: np.random.Generator) -> list[str]:
    """The words one voice speaks: every digit often, a random share of the others."""
    digits = list(DIGITS) * max(1, round(PER_DIGIT[engine] * scale))
    count = max(1, round(len(UNKNOWN_WORDS) * PER_OTHER[engine] * scale))
    rounds = -(-count // len(UNKNOWN_WORDS))
    others = np.concatenate([rng.permutation(UNKNOWN_WORDS) for _ in range(rounds)])[:count]
    return digits + [str(word) for word in others]


def synthesize_voice(split: str, voice: Voice, folder: Path, scale: float) -> str:
    """Speak every word of one voice and save the file; returns a line for the log."""
    path = folder / f"{split}-{voice.engine}-{voice.name}.npz"
    if path.exists():
        return f"{path.name}: kept"
    rng = np.random.default_rng(zlib.crc32(f"{voice.engine}/{voice.name}".encode()))
    words = word_list(voice.engine, scale, rng)
    if voice.engine == "festival":
        speech = festival_batch(words, voice, rng)
    else:
        speech = (SPEAK[voice.engine](word, voice, rng) for word in words)
    kept_words, pieces = [], []
    for word, (waveform, rate) in zip(words, speech, strict=True):
        piece = trim(resample(waveform, rate, RATE))
        if _SHORTEST * RATE <= piece.size <= _LONGEST * RATE:
            kept_words.append(word)
            pieces.append(np.clip(piece * (0.9 / np.abs(piece).max()), -1, 1))
    audio = (np.concatenate(pieces) * 32767).astype(np.int16)
    start = np.cumsum([0] + [piece.size for piece in pieces])
    partial = path.with_suffix(".part.npz")
    np.savez(partial, audio=audio, start=start, word=np.array(kept_words), speaker=voice.speaker)
    os.replace(partial, path)
    minutes = audio.size / RATE / 60
    return f"{path.name}: {len(kept_words)} of {len(words)} words, {minutes:.1f} minutes"


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="synthesize", description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies the number of utterances"
    )
    options = parser.parse_args(arguments)
    folder = options.scratch / "speech"
    folder.mkdir(parents=True, exist_ok=True)
    for engine, source in {**PROGRAMS, **PACKAGES}.items():
        if not engine_installed(engine):
            print(f"left out: {engine} (install {source})", file=sys.stderr)
    voices = [(split, voice) for split, members in split_voices().items() for voice in members]
    usable = [(split, voice) for split, voice in voices if engine_installed(voice.engine)]
    with ProcessPoolExecutor(options.jobs) as pool:
        # The slow neural voices come last in the lists: start them first.
        order = reversed(usable)
        jobs = [pool.submit(synthesize_voice, *pair, folder, options.scale) for pair in order]
        for job in jobs:
            print(job.result(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
