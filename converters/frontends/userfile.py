"""``path/to/module.py:function``: running a user's own file to get a module."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from millijoule.errors import DeviceError, MjError, ModelError, UsageError

_EXTRAS = {
    "snntorch": "train",
    "nir": "nir",
    "h5py": "nir",
    "nirtorch": "nir",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "tflite": "tflite",
    "ai_edge_litert": "tflite",
}


def load_example(text: str) -> tuple[Any, Any, str]:
    """Module, example inputs and name from ``file.py:function``.

    The function is called without arguments and returns ``(module, example_inputs)`` or a module
    with an attribute ``example_inputs``. The file is *executed*, as the user's own code: never
    name one that you would not run. UsageError for a missing file or function; ModelError, with the
    line, for an exception inside it.
    """
    path_text, _, function = text.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise UsageError(f"[source] no file {path_text!r}; give path/to/module.py:function")
    if not function.isidentifier():
        raise UsageError(f"[source] {text!r} names no function; give {path_text}:function")
    with _user_code(path):
        module = _execute(path)
    make = getattr(module, function, None)
    if not callable(make):
        known = [
            n
            for n, v in vars(module).items()
            if callable(v)
            and not n.startswith("_")
            and getattr(v, "__module__", None) == module.__name__
        ]
        raise UsageError(
            f"[source] {path.name} has no function {function!r}; "
            f"it has {', '.join(known) or 'none'}"
        )
    with _user_code(path):
        made = make()
    if isinstance(made, tuple) and len(made) == 2:
        return made[0], made[1], function if function != "make" else path.stem
    examples = getattr(made, "example_inputs", None)
    if examples is None and type(made).__module__.split(".")[0] != "nir":
        raise UsageError(
            f"[source] {path.name}:{function} must return (module, example_inputs), or a module "
            f"with an attribute example_inputs, but returned {type(made).__name__}"
        )
    return made, examples, function if function != "make" else path.stem


def _execute(path: Path) -> ModuleType:
    """The file as a module; its folder can be imported from meanwhile, as if run by Python."""
    name = f"millijoule_source_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
    return module


@contextmanager
def _user_code(path: Path) -> Iterator[None]:
    """One line with the location for whatever the user's code raises."""
    try:
        yield
    except MjError:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in _EXTRAS:
            raise missing_package(package) from error
        raise ModelError(f"[{path.name}{_line_in(path, error)}] {error}; install it") from error
    except Exception as error:  # user code may raise anything
        what = " ".join(str(error).split())
        raise ModelError(
            f"[{path.name}{_line_in(path, error)}] {type(error).__name__}: {what or 'no message'}"
        ) from error


def missing_package(package: str) -> DeviceError:
    """The error for an optional package that is not installed."""
    return DeviceError(
        f"[convert] needs the package {package}; run pip install 'millijoule[{_EXTRAS[package]}]'"
    )


def _line_in(path: Path, error: BaseException) -> str:
    """ ":line" of the innermost frame in the file, if any."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename and Path(f.filename).name == path.name]
    return f":{lines[-1]}" if lines else ""
