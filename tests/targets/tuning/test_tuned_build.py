"""Records of a database take the place of schedules by rule, and bundles say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import millijoule as mj
from fixtures.bundles import assert_same_bytes
from fixtures.tuning import add_record, in_threads, with_workspace
from millijoule.cli import main
from millijoule.errors import UsageError
from millijoule.targets.tuning.records import RECORDS, WORKLOADS
from millijoule.targets.tuning.tune import Function, functions_of
from millijoule.verification import verify

Capture = pytest.CaptureFixture[str]
KERNEL = "mjk_0_fused_multiply_sum"


@pytest.fixture(scope="module")
def function(model: Any) -> Function:
    """The sum of squares."""
    found = functions_of(model)
    assert [f.names for f in found] == [["fused_multiply_sum"], ["fused_tir_sigmoid_transpose"]]
    return found[0]


def test_a_record_takes_the_place_of_the_rule(
    model: Any, function: Function, tmp_path: Path, capsys: Capture
) -> None:
    add_record(tmp_path / "db", function, in_threads)
    before = {p.name: p.read_bytes() for p in (tmp_path / "db").iterdir()}
    paths = [tmp_path / f"{name}.mjb" for name in ("one", "two")]
    for path in paths:
        mj.build(model, out=path, tuning_db=tmp_path / "db").close()
    assert_same_bytes(*paths)
    assert {p.name: p.read_bytes() for p in (tmp_path / "db").iterdir()} == before
    for threads in (1, 2):
        with mj.load(paths[0], threads=threads) as session:
            assert all(check.passed for check in verify(session))
            tuning = session.manifest.toolchain["tuning"]
    assert list(tuning["kernels"]) == [KERNEL]
    assert tuning["refused"] == {}
    assert main(["inspect", str(paths[0])]) == 0
    printed = capsys.readouterr().out
    assert f"{KERNEL} by {tuning['kernels'][KERNEL][:12]}" in printed
    assert tuning["sha256"] in printed


def test_of_several_records_the_fastest_counts(
    model: Any, function: Function, tmp_path: Path
) -> None:
    found = []
    for name, seconds in (("first", 2e-6), ("second", 1e-6), ("third", 3e-6)):
        add_record(tmp_path / "db", function, in_threads, seconds=seconds)
        with mj.build(model, out=tmp_path / f"{name}.mjb", tuning_db=tmp_path / "db") as bundle:
            found.append(bundle.manifest.toolchain["tuning"]["kernels"][KERNEL])
    assert found[0] != found[1]
    assert found[1] == found[2]


def test_records_of_other_targets_do_not_count(
    model: Any, function: Function, tmp_path: Path
) -> None:
    add_record(tmp_path / "db", function, in_threads, target="cortex-a72")
    with mj.build(model, out=tmp_path / "a.mjb", tuning_db=tmp_path / "db") as bundle:
        assert bundle.manifest.toolchain["tuning"]["kernels"] == {}
    with mj.build(model, out=tmp_path / "b.mjb") as bundle:
        assert "tuning" not in bundle.manifest.toolchain


def test_what_the_code_generator_cannot_take_is_refused(
    source: str, function: Function, tmp_path: Path, capsys: Capture
) -> None:
    """Only the thread that calls a kernel has workspace: the rule stays, and the build says so."""
    add_record(tmp_path / "db", function, with_workspace)
    out = tmp_path / "a.mjb"
    options = ["--tuning-db", str(tmp_path / "db"), "-o", str(out)]
    assert main(["build", source, *options]) == 0
    printed = capsys.readouterr()
    assert "tuned: 0 kernels" in printed.out
    assert "note: fused_multiply_sum is scheduled by rule" in printed.err
    assert "inside of a parallel loop" in printed.err
    with mj.load(out, threads=2) as session:
        assert all(check.passed for check in verify(session))


def test_a_trace_of_another_function_is_no_record(model: Any, tmp_path: Path) -> None:
    """A transpose has no block of the name that the trace asks for; TVM sees that on loading."""
    first, second = functions_of(model)
    add_record(tmp_path / "db", first, in_threads)
    add_record(tmp_path / "db", second, lambda schedule: None, seconds=1.0)
    lines = (tmp_path / "db" / RECORDS).read_text().splitlines()
    (tmp_path / "db" / RECORDS).write_text("[1," + lines[0].removeprefix("[0,") + "\n")
    with pytest.raises(UsageError, match="does not apply to its workload"):
        mj.build(model, out=tmp_path / "a.mjb", tuning_db=tmp_path / "db")


@pytest.mark.parametrize(
    ("workloads", "records"),
    [
        (None, None),
        ("", None),
        ("", "{"),
        ("", "[0, []]"),
        ("garbage", ""),
        ('["1", "AAAA"]', ""),
        ('["1", "AAAA"]', "[0, 5]"),
    ],
)
def test_bad_databases(
    workloads: str | None, records: str | None, tmp_path: Path, capsys: Capture
) -> None:
    """One line each, before anything is converted."""
    for name, text in ((WORKLOADS, workloads), (RECORDS, records)):
        if text is not None:
            (tmp_path / name).write_text(text + "\n" * bool(text))
    out = tmp_path / "a.mjb"
    options = ["--tuning-db", str(tmp_path), "-o", str(out), "--quiet"]
    assert main(["build", "no-such-model", *options]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("mj: error: [tuning] ")
    assert len(message.splitlines()) == 1
    assert not out.exists()


def test_where_a_database_does_not_fit(model: Any, tmp_path: Path, function: Function) -> None:
    with pytest.raises(UsageError, match="must be a folder"):
        mj.build(model, out=tmp_path / "a.mjb", tuning_db=tmp_path / "none")
    add_record(tmp_path / "db", function, in_threads)
    for target, dtype, message in (
        ("cortex-m4", "float32", "the target is cortex-m4"),
        ("jetson-orin", "float32", "the target is jetson-orin"),
        ("litert", "float32", "the target is litert"),
        ("cortex-a76", "float16", "dtype is float16"),
    ):
        with pytest.raises(UsageError, match=message):
            mj.build(model, target, tmp_path / "a.mjb", dtype=dtype, tuning_db=tmp_path / "db")
    assert not (tmp_path / "a.mjb").exists()
