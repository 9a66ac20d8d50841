"""The speech set in memory, and features drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millijoule.audio import LogMel

from .augment import NOISY, condition_clip, silence_clip, training_clip, warp_bands
from .words import DIGITS, LABELS, NEAR_MISSES, label_of

FRAMES = 98  # whole frames in a second
CONDITIONS = ("clean", "noisy", "telephone")

_NATURAL_SHARE = 0.75  # of the training words; the rest is espeak-ng's formant synthesis
_DIGIT_SHARE = 0.68
_CROWD_WEIGHT = 3  # of a crowd, whose every word is another speaker's
_NEAR_SHARE = 0.45  # of the unknown words
_WARP_SHARE = 0.5
_SILENCE_SHARE = 0.04
_CHUNK = 500  # clips made by one task: enough to outweigh starting it, few enough to share fairly


@dataclass
class Speech:
    """All words of one split.

    ``audio`` int16 holds them end to end; ``start`` and ``stop`` int64 ``[n]`` say where; ``word``,
    ``voice`` and ``speaker`` str ``[n]``.
    """

    audio: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    word: np.ndarray
    voice: np.ndarray
    speaker: np.ndarray

    @classmethod
    def load(cls, folder: Path, split: str) -> Speech:
        """Read ``folder/speech/<split>-*.npz``, as ``synthesize`` wrote them."""
        paths = sorted((folder / "speech").glob(f"{split}-*.npz"))
        paths = [path for path in paths if not path.name.endswith(".part.npz")]
        if not paths:
            raise SystemExit(f"no {split} speech in {folder / 'speech'}; run synthesize first")
        audio, start, stop, word, voice, speaker = [], [], [], [], [], []
        offset = 0
        for path in paths:
            with np.load(path) as file:
                edges = file["start"] + offset
                audio.append(file["audio"])
                start.append(edges[:-1])
                stop.append(edges[1:])
                word.append(file["word"])
                voice.append(np.full(edges.size - 1, path.stem.removeprefix(f"{split}-")))
                speaker.append(np.full(edges.size - 1, str(file["speaker"])))
                offset = int(edges[-1])
        tags = [np.concatenate(part) for part in (start, stop, word, voice, speaker)]
        return cls(np.concatenate(audio), *tags)

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, index: int) -> np.ndarray:
        """Word ``index`` as float64 ``[samples]``."""
        return self.audio[self.start[index] : self.stop[index]] / 32768.0

    @property
    def label(self) -> np.ndarray:
        """Class of every word, int64 ``[n]``."""
        return np.array([label_of(word) for word in self.word])


class Sampler:
    """Draws training words: classes, natural and formant voices in fixed shares.

    A voice is drawn in proportion to the root of the number of its words: those of varied engines
    count for more, and crowds most. Near misses of digits are a kind of their own, the last.
    """

    def __init__(self, speech: Speech) -> None:
        kinds, formant = speech.label, np.char.startswith(speech.voice, "espeak")
        kinds[np.isin(speech.word, NEAR_MISSES)] = len(LABELS)
        self._by_voice: dict[tuple[int, bool], list[np.ndarray]] = {}
        self._weights: dict[tuple[int, bool], np.ndarray] = {}
        for kind in range(len(LABELS) + 1):
            for is_formant in (False, True):
                members = np.flatnonzero((kinds == kind) & (formant == is_formant))
                voices = speech.voice[members]
                groups = [members[voices == voice] for voice in np.unique(voices)]
                roots = np.sqrt([group.size for group in groups])
                names = np.array([speech.voice[group[0]] for group in groups], dtype=str)
                roots = roots * np.where(np.char.startswith(names, "crowd"), _CROWD_WEIGHT, 1)
                self._by_voice[kind, is_formant] = groups
                self._weights[kind, is_formant] = roots / max(np.sum(roots), 1)

    def draw(self, kind: int, rng: np.random.Generator) -> int:
        """Index of a random word of class ``kind``."""
        if kind == len(DIGITS) and rng.random() < _NEAR_SHARE:
            kind = len(LABELS)
        key = kind, bool(rng.random() > _NATURAL_SHARE)
        if not self._by_voice[key]:
            key = kind, not key[1]
        voice = rng.choice(len(self._by_voice[key]), p=self._weights[key])
        return int(rng.choice(self._by_voice[key][voice]))


_worker: tuple[Speech, Sampler, LogMel]


def _start_worker(folder: Path, split: str, features: LogMel) -> None:
    global _worker
    speech = Speech.load(folder, split)
    _worker = speech, Sampler(speech), features


def _training_chunk(
    seed: tuple[int, int], count: int, lowest_snr: float, noisy: float
) -> tuple[np.ndarray, np.ndarray]:
    speech, sampler, features = _worker
    rng = np.random.default_rng(seed)
    x, y = np.empty((count, FRAMES, features.n_mels), np.float16), np.empty(count, np.int64)

    def any_word() -> np.ndarray:
        return speech[int(rng.integers(len(speech)))]

    for index in range(count):
        share = rng.random()
        if share < _SILENCE_SHARE:
            kind, clip = len(DIGITS), silence_clip(any_word, rng)
        else:
            digit = share < _SILENCE_SHARE + _DIGIT_SHARE
            kind = int(rng.integers(len(DIGITS))) if digit else len(DIGITS)
            clip = training_clip(speech[sampler.draw(kind, rng)], any_word, rng, lowest_snr, noisy)
        frames = features(clip)
        if rng.random() < _WARP_SHARE:
            frames = warp_bands(frames, features.low_hz, features.high_hz, rng)
        x[index], y[index] = frames, kind
    return x, y


def _condition_chunk(seed: int, condition: str, indices: np.ndarray) -> np.ndarray:
    speech, _, features = _worker
    x = np.empty((len(indices), FRAMES, features.n_mels), np.float32)
    for row, index in enumerate(indices):
        rng = np.random.default_rng((seed, int(index)))

        def any_word(rng: np.random.Generator = rng) -> np.ndarray:
            return speech[int(rng.integers(len(speech)))]

        x[row] = features(condition_clip(speech[index], condition, any_word, rng))
    return x


def training_features(
    folder: Path,
    features: LogMel,
    count: int,
    seed: int,
    lowest_snr: float,
    jobs: int,
    noisy: float = NOISY,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``count`` clips: float16 ``[count, 98, n_mels]`` and classes int64 ``[count]``."""
    sizes = [min(_CHUNK, count - first) for first in range(0, count, _CHUNK)]
    with ProcessPoolExecutor(jobs, None, _start_worker, (folder, "train", features)) as pool:
        seeds = [(seed, chunk) for chunk in range(len(sizes))]
        parts = list(
            pool.map(_training_chunk, seeds, sizes, [lowest_snr] * len(sizes), [noisy] * len(sizes))
        )
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def condition_features(
    folder: Path, split: str, features: LogMel, limit: int | None, seed: int, jobs: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, Speech]]:
    """For every condition: its name, features, indices of their words, and the speech set.

    ``limit`` bounds the words of one voice; None takes all.
    """
    speech = Speech.load(folder, split)
    rng = np.random.default_rng(seed)
    groups = [rng.permutation(np.flatnonzero(speech.voice == v)) for v in np.unique(speech.voice)]
    indices = np.concatenate([group[:limit] for group in groups])
    pieces = [indices[first : first + _CHUNK] for first in range(0, len(indices), _CHUNK)]
    with ProcessPoolExecutor(jobs, None, _start_worker, (folder, split, features)) as pool:
        for number, condition in enumerate(CONDITIONS):
            tasks = [pool.submit(_condition_chunk, seed + number, condition, p) for p in pieces]
            yield condition, np.concatenate([task.result() for task in tasks]), indices, speech
