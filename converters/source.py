"""What ``mj build SOURCE`` may name: a model folder, a zoo entry, or ``module.py:function``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from millijoule.errors import ModelError, UsageError
from millijoule.npz import read_npz

ZOO = Path(__file__).parent / "zoo"
CONFIG = "config.json"
CALIBRATION = "calibration.npz"
_MAX_CONFIG_BYTES = 1 << 20
_MAX_CALIBRATION_BYTES = 1 << 28


@dataclass(frozen=True)
class Folder:
    """A model folder: its config, read and checked as far as every family needs it."""

    path: Path
    family: str
    variant: str
    hparams: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the model: the config's, else the folder's."""
        name = self.config.get("name")
        return name if isinstance(name, str) and name else self.path.resolve().name


def zoo_entries() -> dict[str, Path]:
    """Zoo name → folder."""
    found = {}
    for config in sorted(ZOO.glob(f"*/{CONFIG}")):
        found[read_folder(config.parent).name] = config.parent
    return found


def resolve_folder(source: str) -> Path:
    """The folder that ``source`` names, by path or by zoo name; UsageError otherwise."""
    path = Path(source)
    if path.is_dir():
        return path
    zoo = zoo_entries()
    if source in zoo:
        return zoo[source]
    raise UsageError(
        "[source] must be a model folder, module.py:function, an .onnx, .tflite or .nir file, or"
        f" a zoo name ({', '.join(zoo) or 'none installed'}), but is {source!r}"
    )


def read_folder(path: Path) -> Folder:
    """Read ``config.json``. ModelError if it is missing, malformed or lacks a key."""
    file = path / CONFIG
    try:
        if file.stat().st_size > _MAX_CONFIG_BYTES:
            raise ModelError(f"[{path.name}/{CONFIG}] is larger than {_MAX_CONFIG_BYTES} bytes")
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"[{path.name}] a model folder must hold {CONFIG}: {error.strerror}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"[{path.name}/{CONFIG}] is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"[{path.name}/{CONFIG}] must be a JSON object")
    for key, kind in (("family", str), ("variant", str), ("hparams", dict)):
        if not isinstance(config.get(key), kind):
            raise ModelError(
                f"[{path.name}/{CONFIG}] {key!r} must be a {kind.__name__}, "
                f"but is {config.get(key)!r}"
            )
    return Folder(path, config["family"], config["variant"], config["hparams"], config)


def read_calibration(path: Path) -> dict[str, np.ndarray] | None:
    """``calibration.npz`` of a model folder: inputs by name, perhaps ``labels``; None if absent.

    ModelError if it cannot be read.
    """
    file = path / CALIBRATION
    if not file.is_file():
        return None
    try:
        return read_npz(file, _MAX_CALIBRATION_BYTES)
    except (OSError, ValueError) as error:
        raise ModelError(f"[{path.name}/{CALIBRATION}] cannot be read: {error}") from error


def read_sample(
    folder: Folder, decode: Callable[[bytes], np.ndarray], shape: tuple[int, ...]
) -> np.ndarray | None:
    """The file that the config names as ``sample``, decoded; None if it names none.

    ModelError if it cannot be read or decoded, or has another shape than ``shape``.
    """
    name = folder.config.get("sample")
    if not isinstance(name, str):
        return None
    where = f"[{folder.path.name}/{CONFIG}] sample {name!r}"
    try:
        values = decode((folder.path / name).read_bytes())
    except OSError as error:
        raise ModelError(f"{where} cannot be read: {error.strerror}") from error
    except (UsageError, ValueError) as error:
        raise ModelError(f"{where} is no input of this model: {error}") from error
    if values.shape != shape:
        raise ModelError(
            f"{where} must give values of shape {list(shape)}, but gives {list(values.shape)}; "
            "check frontend and hparams"
        )
    return values
