"""The names that ``import millijoule`` offers, the lazy ones included."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import millijoule as mj
from millijoule import errors


def test_every_public_name_is_there() -> None:
    for name in mj.__all__:
        assert getattr(mj, name) is not None
    assert set(mj.__all__) <= set(dir(mj))
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", mj.__version__)


@pytest.mark.parametrize("name", ["build", "convert", "profile"])
def test_verbs_stay_functions_when_their_modules_are_imported(name: str) -> None:
    for module in ("profiling", "profiling.stats", "converters", "targets"):
        importlib.import_module(f"millijoule.{module}")
    assert callable(getattr(mj, name))


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        _ = mj.biuld


def test_errors_are_one_line_and_have_the_documented_codes() -> None:
    codes = {
        errors.VerificationError: 1,
        errors.UsageError: 2,
        errors.UnsupportedError: 3,
        errors.ModelError: 3,
        errors.DeviceError: 4,
        errors.BundleError: 5,
    }
    for kind, code in codes.items():
        error = kind("first\n  second")
        assert isinstance(error, errors.MjError)
        assert (error.exit_code, str(error)) == (code, "first second")


def test_device_side_has_no_third_party_imports() -> None:
    """What a device imports is the standard library, NumPy and Millijoule itself."""
    root = Path(errors.__file__).parent
    heavy = re.compile(r"^(?:import|from) (torch|tvm|rich|jinja2|scipy|matplotlib)\b", re.MULTILINE)
    files = [*root.glob("*.py")]
    for folder in (
        "bundle",
        "executors",
        "inputs",
        "cli",
        "profiling",
        "energy",
        "audio",
        "report",
    ):
        files += (root / folder).rglob("*.py")
    assert len(files) > 40
    for path in files:
        assert not heavy.search(path.read_text()), path
