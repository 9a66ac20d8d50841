"""The command line in process: what each verb prints, exit codes, and one line for each mistake."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import millijoule
from fixtures.tiny_model.build import samples, scale
from millijoule.bundle import SAMPLE_OUTPUTS, Bundle, npz_bytes, write_bundle
from millijoule.cli import main
from millijoule.cli import run as run_verb
from millijoule.cli.console import Console
from millijoule.errors import BundleError, DeviceError, ModelError, UnsupportedError

Capture = pytest.CaptureFixture[str]


def with_samples(path: Path, out: Path, outputs: dict[str, np.ndarray], **model: Any) -> str:
    """The bundle at ``path`` with other expected outputs, and other fields of ``model``."""
    with Bundle.open(path) as bundle:
        files: dict[str, bytes | Path] = {name: bundle.read(name) for name in bundle.manifest.files}
        manifest = bundle.manifest
    files[SAMPLE_OUTPUTS] = npz_bytes(outputs)
    changed = dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, **model))
    write_bundle(out, changed, files)
    return str(out)


def run_json(capsys: Capture, *argv: str, code: int = 0) -> Any:
    """Standard output of ``mj … --json -`` as JSON."""
    assert main([*argv, "--json", "-"]) == code
    return json.loads(capsys.readouterr().out)


def test_version_and_help(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mj {millijoule.__version__}\n"
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for verb in ("build", "run", "verify", "inspect", "profile", "targets", "models", "doctor"):
        assert f"\n    {verb} " in text
        assert main([verb, "--help"]) == 0


def test_run_prints_statistics(tiny_path: Path, capsys: Capture) -> None:
    assert main(["run", str(tiny_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["output", "dtype", "shape", "min", "max", "mean"]
    assert lines[1].split()[:4] == ["y", "float32", "[2,", "1]"]


def test_run_prints_classes(tiny_streaming_path: Path, capsys: Capture) -> None:
    assert main(["run", str(tiny_streaming_path), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["row", "label", "score", "softmax"]
    logits = samples("streaming")[1]["logits"][0]
    best = np.argsort(-logits, kind="stable")
    assert [line.split()[1] for line in lines[1:]] == ["abcd"[index] for index in best[:2]]
    found = run_json(capsys, "run", str(tiny_streaming_path))
    assert found["classes"][0][0]["index"] == best[0]
    assert sum(entry["softmax"] for entry in found["classes"][0]) == pytest.approx(1)
    assert found["outputs"]["logits"] == {
        "dtype": "float32",
        "shape": [1, 4],
        "values": [logits.tolist()],
    }


def test_run_many_rows_says_what_it_leaves_out(
    tiny_streaming_path: Path, tmp_path: Path, capsys: Capture
) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((11, 2, 4), np.float32))
    assert main(["run", str(tiny_streaming_path), "--inputs", str(tmp_path / "x.npz")]) == 0
    assert "3 more rows" in capsys.readouterr().out


def test_run_writes_outputs_and_taps(tiny_path: Path, tmp_path: Path, capsys: Capture) -> None:
    x = np.arange(-6, 6, dtype=np.float32).reshape(3, 4)
    (tmp_path / "x.bin").write_bytes(x.tobytes())
    out = tmp_path / "y.npz"
    for taps in ("all", "spikes:scale"):
        code = main(
            ["run", str(tiny_path), "--inputs", str(tmp_path / "x.bin"), "--quiet"]
            + ["--taps", taps, "--outputs", str(out), "--threads", "2"]
        )
        assert code == 0
        with np.load(out) as written:
            np.testing.assert_array_equal(written["y"], scale(x).sum(1, keepdims=True))
            np.testing.assert_array_equal(written["spikes:scale"], scale(x))
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.bin", "y.npz"]


def test_values_that_json_does_not_know_become_null(capsys: Capture) -> None:
    values = np.array([1.5, np.nan, -np.inf], np.float32)
    assert run_verb._as_json({"y": values})["y"]["values"] == [1.5, None, None]


@pytest.mark.parametrize("variant", ["tiny_path", "tiny_streaming_path"])
def test_verify_passes(
    variant: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: Capture
) -> None:
    path = str(request.getfixturevalue(variant))
    assert main(["verify", path]) == 0
    assert "pass" in capsys.readouterr().out
    found = run_json(capsys, "verify", path)
    assert found["passed"] is True
    assert all(row["max_abs_error"] <= row["tolerance"] for row in found["outputs"])
    report = tmp_path / "v.json"
    assert main(["verify", path, "--json", str(report), "--quiet"]) == 0
    assert json.loads(report.read_text()) == found
    assert capsys.readouterr() == ("", "")


def altered(change: Callable[[dict[str, np.ndarray]], Any]) -> dict[str, np.ndarray]:
    """Expected outputs of the plain model, and its tap, after ``change``."""
    inputs, outputs = samples()
    outputs = {**outputs, "spikes:scale": scale(inputs["x"])}  # type: ignore[arg-type]
    change(outputs)
    return outputs


def test_verify_compares_taps_exactly(tiny_path: Path, tmp_path: Path, capsys: Capture) -> None:
    right = with_samples(tiny_path, tmp_path / "a.mjb", altered(lambda o: None))
    rows = run_json(capsys, "verify", right)["outputs"]
    assert {row["name"]: row["tolerance"] for row in rows} == {"spikes:scale": 0, "y": 2e-5}
    near = altered(lambda o: o.update({"spikes:scale": o["spikes:scale"] + 1e-7}))
    wrong = with_samples(tiny_path, tmp_path / "b.mjb", near)
    assert main(["verify", wrong]) == 1
    captured = capsys.readouterr()
    assert "FAIL" in captured.out
    assert captured.err.count("\n") == 1
    assert "'spikes:scale'" in captured.err


FAILING: list[tuple[Callable[[dict[str, np.ndarray]], Any], str]] = [
    (lambda o: o.update(y=o["y"] + 1), "differs by 1"),
    (lambda o: o.update(y=np.full_like(o["y"], np.nan)), "differs by inf"),
    (lambda o: o.update(y=o["y"][:1]), r"shape [2, 1] instead of [1, 1]"),
]


@pytest.mark.parametrize(("change", "message"), FAILING)
def test_verify_fails(
    tiny_path: Path,
    tmp_path: Path,
    capsys: Capture,
    change: Callable[[dict[str, np.ndarray]], Any],
    message: str,
) -> None:
    path = with_samples(tiny_path, tmp_path / "a.mjb", altered(change))
    assert main(["verify", path]) == 1
    assert message in capsys.readouterr().err
    assert run_json(capsys, "verify", path, code=1)["passed"] is False


def test_verify_needs_expected_outputs(tiny_path: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", with_samples(tiny_path, tmp_path / "a.mjb", {})]) == 5
    assert "no expected outputs" in capsys.readouterr().err
    unknown = altered(lambda o: o.update(z=o["y"]))
    assert main(["verify", with_samples(tiny_path, tmp_path / "b.mjb", unknown)]) == 5
    assert "'z'" in capsys.readouterr().err


def scaled(value: Any, factor: float) -> Any:
    """``value`` with all floating-point numbers in it multiplied."""
    if isinstance(value, dict):
        return {key: scaled(item, factor) for key, item in value.items()}
    if isinstance(value, list):
        return [scaled(item, factor) for item in value]
    return value * factor if isinstance(value, float) else value


def test_profile(tiny_path: Path, tmp_path: Path, capsys: Capture) -> None:
    base = ["profile", str(tiny_path), "--duration", "0.05", "--warmup", "1", "--energy", "off"]
    report, trace = tmp_path / "p.json", tmp_path / "p.trace"
    assert main([*base, "--json", str(report), "--trace", str(trace)]) == 0
    captured = capsys.readouterr()
    assert "median" in captured.out
    assert "measured" in captured.out
    assert "latency" in captured.err
    assert json.loads(report.read_text())["latency"]["count"] >= 10
    assert trace.stat().st_size > 0
    found = run_json(capsys, *base, "--no-layers", "--percentiles", "50,99.9")
    assert found["layers"] is None
    assert "99.9" in found["latency"]["percentiles_ms"]
    assert main([*base, "--quiet", "--baseline", str(report), "--max-regression", "1e9%"]) == 0
    fast = json.loads(report.read_text())
    fast["latency"] = scaled(fast["latency"], 1e-6)
    report.write_text(json.dumps(fast))
    assert main([*base, "--quiet", "--baseline", str(report)]) == 1
    assert "baseline" in capsys.readouterr().err


def test_doctor(capsys: Capture) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok") and "numpy" in line for line in lines)
    assert any("energy: rapl" in line for line in lines)
    for finding in run_json(capsys, "doctor"):
        assert finding["ok"] or finding["detail"]


BAD_USAGE: list[list[str]] = [
    [],
    ["fly"],
    ["run"],
    ["run", "{bundle}", "--threads", "0"],
    ["run", "{bundle}", "--threads", "many"],
    ["run", "{bundle}", "--threads", "99999"],
    ["run", "{bundle}", "--inputs", "missing.npz"],
    ["run", "{bundle}", "--inputs", "{bundle}"],
    ["run", "{bundle}", "--taps", "none"],
    ["run", "{bundle}", "--outputs", "missing/folder/y.npz"],
    ["run", "{bundle}", "--json", "missing/folder/y.json"],
    ["run", "{bundle}", "--top", "0"],
    ["run", "missing.mjb"],
    ["run", "{bundle}", "--unknown"],
    ["verify", "missing.mjb"],
    ["inspect", "missing.mjb"],
    ["profile", "{bundle}", "--iterations", "0"],
    ["profile", "{bundle}", "--iterations", "1.5"],
    ["profile", "{bundle}", "--warmup", "-1"],
    ["profile", "{bundle}", "--warmup", "1.5"],
    ["profile", "{bundle}", "--duration", "-1"],
    ["profile", "{bundle}", "--duration", "nan"],
    ["profile", "{bundle}", "--percentiles", "50,x"],
    ["profile", "{bundle}", "--percentiles", "101"],
    ["profile", "{bundle}", "--max-regression", "-5%"],
    ["profile", "{bundle}", "--energy", "tea"],
    ["profile", "{bundle}", "--baseline", "missing.json"],
    ["profile", "{bundle}", "--trace", "t.json", "--no-layers"],
    ["build"],
    ["build", "x", "--batch", "0"],
    ["build", "x", "--dtype", "float8"],
    ["build", "x", "--emit", "fortran"],
    ["build", "x", "-o", "missing/folder/x.mjb"],
]


@pytest.mark.parametrize("argv", BAD_USAGE, ids=" ".join)
def test_bad_usage_is_one_line_and_code_2(
    tiny_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    argv: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([part.format(bundle=tiny_path) for part in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mj: error: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["run", "verify", "inspect", "profile"])
def test_bad_bundle_is_code_5(tmp_path: Path, capsys: Capture, verb: str) -> None:
    for name, data in (("empty.mjb", b""), ("text.mjb", b"hello " * 99)):
        (tmp_path / name).write_bytes(data)
        assert main([verb, str(tmp_path / name)]) == 5
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert name in error
    assert main([verb, str(tmp_path)]) == 5


@pytest.mark.parametrize("verb", ["run", "verify", "profile"])
def test_program_that_cannot_be_loaded_is_code_4(
    bundle_path: Path, capsys: Capture, verb: str
) -> None:
    assert main([verb, str(bundle_path)]) == 4
    assert "cannot load" in capsys.readouterr().err


def fake_host(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> None:
    """Put a module in the place of ``millijoule.<name>``."""
    monkeypatch.setitem(sys.modules, f"millijoule.{name}", SimpleNamespace(**attributes))


def test_build_hands_everything_over(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    seen: dict[str, Any] = {}
    checked: list[str] = []

    def convert(source: str, **options: Any) -> Any:
        assert checked  # an unknown target is refused before minutes of converting
        seen.update(source=source, **options)
        return SimpleNamespace(name="my/model 1")

    def build(model: Any, *, out: str, progress: Any, **options: Any) -> Bundle:
        progress("compiling", 1, 2)
        seen.update(out=out, **options)
        Path(out).write_bytes(tiny_path.read_bytes())
        return Bundle.open(out)

    monkeypatch.chdir(tmp_path)
    fake_host(monkeypatch, "converters", convert=convert)
    fake_host(
        monkeypatch,
        "targets",
        build=build,
        get_target=checked.append,
        check_limits=lambda target, **budget: checked.append(budget),
        check_plugins=lambda *_: None,
        check_tuning=lambda *_: None,
    )
    options = ["--batch", "2", "--streaming", "--threads", "3", "--target", "t", "--emit", "c"]
    np.savez("c.npz", x=np.ones((3, 4), np.float32))
    options += ["--calibrate", "c.npz", "--board", "b", "--flash", "512K", "--ram", "0x"]
    options[:0] = ["--examples", "c.npz"]
    assert main(["build", "src", *options, "--dtype", "int8"]) == 2  # not a size
    assert "512K" in capsys.readouterr().err
    options[-1] = "1m"
    assert main(["build", "src", *options, "--dtype", "int8"]) == 0
    for option in ("calibration", "example_inputs"):
        np.testing.assert_array_equal(seen.pop(option)["x"], np.ones((3, 4), np.float32))
    assert checked == ["t", {"board": "b", "flash": 512 << 10, "ram": 1 << 20}]
    assert seen == {
        "source": "src",
        "dynamic": None,
        "streaming": True,
        "batch": 2,
        "dtype": "int8",
        "out": "my-model-1.mjb",
        "target": "t",
        "threads": 3,
        "emit": "c",
        "split": None,
        "plugins": False,
        "tuning_db": None,
        "board": "b",
        "flash": 512 << 10,
        "ram": 1 << 20,
    }
    captured = capsys.readouterr()
    assert captured.out.startswith("my-model-1.mjb: tiny for host")
    assert captured.err == "… converting src\n… compiling\n"
    found = run_json(capsys, "build", "src", "-o", "b.mjb", "--quiet")
    assert found["path"] == "b.mjb"
    assert found["bytes"] == tiny_path.stat().st_size


def test_missing_host_packages_are_code_4(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for name in ("converters", "targets"):
        monkeypatch.setitem(sys.modules, f"millijoule.{name}", None)
    for argv in (["build", "x"], ["targets"], ["models"]):
        assert main(argv) == 4
        assert "pip install 'millijoule[convert]'" in capsys.readouterr().err

    def convert(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'")

    fake_host(monkeypatch, "converters", convert=convert)
    fake_host(
        monkeypatch,
        "targets",
        build=None,
        get_target=len,
        check_limits=lambda *_, **__: None,
        check_plugins=lambda *_: None,
        check_tuning=lambda *_: None,
    )
    assert main(["build", "x"]) == 4
    assert "No module named 'torch'" in capsys.readouterr().err


@dataclasses.dataclass
class Row:
    """A row of a fake table."""

    name: str = "kws"
    kind: str = "static-aot"
    triple: str = "x86_64"
    cpu: str = "v3"
    proved: str = "here"
    note: str = ""


def test_targets_and_models(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    model = {"name": "kws", "kind": "zoo", "variants": ["a", "b"], "note": ""}
    fake_host(monkeypatch, "targets", list_targets=lambda: [Row()], list_boards=list)
    fake_host(monkeypatch, "converters", list_models=lambda: [model])
    row = {**dataclasses.asdict(Row()), "boards": []}
    for verb, expected in (("targets", row), ("models", model)):
        assert main([verb]) == 0
        assert "kws" in capsys.readouterr().out
        assert run_json(capsys, verb) == [expected]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnsupportedError("op"), 3),
        (ModelError("tensor"), 3),
        (DeviceError("device"), 4),
        (BundleError("bundle"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, error: BaseException, code: int
) -> None:
    def fail() -> None:
        raise error

    fake_host(monkeypatch, "targets", list_targets=fail, list_boards=list)
    assert main(["targets"]) == code
    assert capsys.readouterr().err.count("\n") == 1


def test_unforeseen_errors(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail() -> None:
        raise RuntimeError("two\nlines")

    fake_host(monkeypatch, "targets", list_targets=fail, list_boards=list)
    monkeypatch.delenv("MJ_DEBUG", raising=False)
    assert main(["targets"]) == 70
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "RuntimeError: two lines; please report it" in error
    monkeypatch.setenv("MJ_DEBUG", "1")
    assert main(["targets"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_too_little_memory_is_no_fault(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail() -> None:
        raise MemoryError("Unable to allocate 16.0 GiB\nfor an array")

    fake_host(monkeypatch, "targets", list_targets=fail, list_boards=list)
    assert main(["targets"]) == 4
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "not enough memory: Unable to allocate 16.0 GiB for an array; use a smaller" in error


def test_tables_with_and_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    columns, rows = ("name", "n"), [("[red]a", 12345), ("b", None)]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Console().table(columns, rows, "title")
    drawn = capsys.readouterr().out
    assert "[red]a" in drawn
    assert "│" in drawn
    monkeypatch.setitem(sys.modules, "rich.table", None)
    Console().table(columns, rows, "title")
    assert capsys.readouterr().out == "title\nname         n\n[red]a  12,345\nb            -\n"


def test_progress_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Console().progress() as report:
        report("lowering")
        report("[compiling]", 3, 10)
    assert capsys.readouterr().out == ""
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with Console().progress() as report:
        report("linking")
    assert "… linking" in capsys.readouterr().err
