"""The text front end of a model folder: its vocabulary becomes a member of the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millijoule.converters.source import Folder
from millijoule.errors import ModelError, UsageError
from millijoule.text import TextFrontend, frontend_from_manifest, read_vocab

MEMBER = "frontend/vocab.txt"
_MAX_VOCAB_BYTES = 1 << 26


def text_frontend(folder: Folder, hp: Any) -> tuple[TextFrontend | None, dict[str, Any]]:
    """(front end, what a `Model` says of it) of a folder whose config has ``frontend``.

    ``{"kind": "text", "tokenizer": "wordpiece", "vocab": FILE, "lowercase": true, "seq_len": N}``;
    (None, {}) if it has none. ModelError for an entry or a vocabulary that does not fit the model.
    """
    entry = folder.config.get("frontend")
    if entry is None:
        return None, {}
    where = f"[{folder.path.name}]"
    data = _vocab_bytes(folder, entry)
    try:
        vocab = read_vocab(data)
        front = frontend_from_manifest(entry, vocab)
    except UsageError as error:
        raise ModelError(f"{where} {error}") from error
    if len(vocab) > hp.vocab_size or front.seq_len > hp.max_position_embeddings:
        raise ModelError(
            f"{where} the front end has {len(vocab)} pieces and {front.seq_len} tokens, but "
            f"hparams allow {hp.vocab_size} and {hp.max_position_embeddings}"
        )
    return front, {"frontend": {**entry, "vocab": MEMBER}, "files": {MEMBER: data}}


def _vocab_bytes(folder: Folder, entry: Any) -> bytes:
    name = entry.get("vocab") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or "/" in name or not (folder.path / name).is_file():
        raise ModelError(
            f"[{folder.path.name}/config.json] frontend.vocab must name a file beside it, "
            f"but is {name!r}"
        )
    file = folder.path / name
    if file.stat().st_size > _MAX_VOCAB_BYTES:
        raise ModelError(f"[{folder.path.name}/{name}] has more than {_MAX_VOCAB_BYTES} bytes")
    return file.read_bytes()
