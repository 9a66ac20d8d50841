"""What ``mj doctor`` says of machines that lack something."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

from millijoule import cpu, doctor
from millijoule.errors import DeviceError
from millijoule.targets import toolchain


def finding(name: str) -> doctor.Finding:
    """The finding called ``name``."""
    return next(found for found in doctor.diagnose() if found.name == name)


def test_requirements_are_those_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extra = re.search(r"^convert = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert extra is not None
    listed = dict(re.findall(r'"([a-z-]+)([=>]=[^"]+)"', extra[1]))
    assert listed == doctor.REQUIREMENTS


def test_vendors_are_those_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for name, packages in doctor.VENDORS.items():
        extra = re.search(rf"^{name} = \[(.*?)\]", text, re.DOTALL | re.MULTILINE)
        assert extra is not None
        assert tuple(re.findall(r'"([a-z-]+)[=>]=', extra[1])) == packages


def test_vendor_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Present ones with what they are good for here, missing ones with one line that helps."""
    assert "runs here" in finding("target litert").detail
    assert "--device mil-evaluator" in finding("target coreml").detail
    monkeypatch.setattr(doctor.platform, "system", lambda: "Darwin")
    assert finding("target coreml").detail.endswith("; runs here")
    installed = metadata.version

    def version(name: str) -> str:
        if name == "tensorrt":
            return "10.3.0"
        if name == "flatbuffers":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert "engines are built" in finding("target tensorrt").detail
    missing = finding("target litert")
    assert (missing.ok, missing.detail) == (False, "flatbuffers not installed")
    assert missing.remedy.endswith("pip install 'millijoule[litert]'")


@pytest.mark.parametrize(
    ("version", "rule", "expected"),
    [
        ("2.13.0+cpu", ">=2.9", True),
        ("2.9", ">=2.9", True),
        ("2.8.1", ">=2.9", False),
        ("0.27.0.post1", "==0.27.0.post1", True),
        ("0.27.0", "==0.27.0.post1", False),
    ],
)
def test_versions(version: str, rule: str, expected: bool) -> None:
    assert doctor._satisfies(version, rule) is expected


def test_missing_and_old_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "torch":
            return "1.0"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    old, missing = finding("torch"), finding("apache-tvm")
    assert (old.ok, missing.ok) == (False, False)
    assert old.detail == "1.0, but >=2.9 is needed"
    assert missing.detail == "not installed"
    assert "millijoule[convert]" in old.remedy
    assert "millijoule[convert]" in missing.remedy


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise DeviceError("[toolchain] there is none; run 'apt-get install gcc'")

    monkeypatch.setattr(toolchain, "find_compiler", none)
    found = finding("c compiler")
    assert (found.ok, found.detail) == (False, "[toolchain] there is none")
    assert found.remedy == "run 'apt-get install gcc'"


def test_no_host_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "millijoule.targets.toolchain", None)
    assert not finding("c compiler").ok


def test_unknown_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "features", frozenset)
    assert not finding("cpu features").ok
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"fpu"}))
    monkeypatch.setattr(cpu, "architecture", lambda: "sparc")
    assert finding("cpu features").detail == "1, none of note"
