"""Reading checkpoints: ``.safetensors`` and the authors' ``.pth``, without running their code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from millijoule.errors import ModelError

WEIGHT_NAMES = ("weights.safetensors", "model.safetensors")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MAX_LISTED = 4


def find_weights(folder: Path) -> Path:
    """The one checkpoint in a model folder. ModelError if there is none, or more than one."""
    for name in WEIGHT_NAMES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(p for p in folder.iterdir() if p.suffix in _SUFFIXES and p.is_file())
    if len(found) != 1:
        listed = ", ".join(p.name for p in found) or "none"
        raise ModelError(
            f"[{folder.name}] a model folder must hold weights.safetensors or one of "
            f"*{', *'.join(_SUFFIXES)}, but holds: {listed}"
        )
    return found[0]


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors by name, ``module.`` of DataParallel stripped, floating point as float32.

    ``.pth`` files are read with ``weights_only=True``: nothing in them is executed.
    """
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message would advise to execute the file
        raise ModelError(
            f"[{path.name}] is not a readable checkpoint of tensors (it is damaged, or holds other "
            "objects, which are not loaded); save the model's state_dict() instead"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "unreadable"
        raise ModelError(
            f"[{path.name}] is not a readable checkpoint of tensors ({reason})"
        ) from error
    except OSError as error:
        raise ModelError(f"[{path.name}] cannot be read: {error.strerror}") from error
    tensors = _unwrap(loaded)
    if not tensors:
        raise ModelError(f"[{path.name}] holds no tensors by name (a state_dict is expected)")
    return {
        name.removeprefix("module."): t.float() if t.is_floating_point() else t
        for name, t in tensors.items()
    }


def _unwrap(loaded: Any) -> dict[str, Tensor]:
    """The state_dict in a checkpoint, which may be wrapped once."""
    if isinstance(loaded, Mapping):
        for key in _WRAPPERS:
            if isinstance(loaded.get(key), Mapping):
                loaded = loaded[key]
                break
        return {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}
    return {}


def load_weights(
    module: nn.Module, tensors: Mapping[str, Tensor], where: str, derived: frozenset[str]
) -> list[str]:
    """Copy ``tensors`` into ``module``; returns the keys that the module has no use for.

    ``derived``: last parts of key names that the module computes itself; they may be missing, and
    must agree when present. ModelError names missing, misshapen or non-finite tensors.
    """
    own = module.state_dict()
    missing = [
        k
        for k in own
        if k not in tensors
        and k.rsplit(".", 1)[-1] not in derived
        and not k.endswith("num_batches_tracked")
    ]
    if missing:
        raise ModelError(f"[{where}] {len(missing)} tensors are missing: {_listed(missing)}")
    for key, expected in own.items():
        if key in tensors:
            _check(key, tensors[key], expected, where, derived)
    used = {k: v.to(own[k].dtype) for k, v in tensors.items() if k in own}
    module.load_state_dict(used, strict=False)
    return sorted(set(tensors) - set(own))


def _check(key: str, tensor: Tensor, expected: Tensor, where: str, derived: frozenset[str]) -> None:
    if tensor.shape != expected.shape:
        raise ModelError(
            f"[{where}] {key} must have shape {list(expected.shape)}, "
            f"but has {list(tensor.shape)}; check hparams in config.json"
        )
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"[{where}] {key} holds NaN or infinite values")
    if key.rsplit(".", 1)[-1] in derived:
        scale = float(expected.abs().max())
        error = float((tensor - expected).abs().max())
        if error > _precision(tensor) * scale:
            raise ModelError(
                f"[{where}] {key} must follow from theta, memory_size and seq_len, "
                f"but differs by {error:.3g}; check hparams in config.json"
            )


def _precision(tensor: Tensor) -> float:
    """How far a derived tensor may be off, relatively: by rounding, if it was saved in 16 bits."""
    for dtype in (torch.bfloat16, torch.float16):  # the coarser first
        if torch.equal(tensor.to(dtype).to(tensor.dtype), tensor):
            return torch.finfo(dtype).eps
    return 1e-4


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more
