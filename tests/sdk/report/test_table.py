"""Tables for the terminal."""

from __future__ import annotations

from typing import Any

from millijoule.report import compare_table, profile_tables


def rows(profile: dict[str, Any], title: str) -> dict[str, tuple[str, ...]]:
    table = next(t for t in profile_tables(profile) if t.title.startswith(title))
    assert all(len(row) == len(table.columns) for row in table.rows)
    return {row[0]: row for row in table.rows}


def test_titles(complete: dict[str, Any]) -> None:
    titles = [table.title.split()[0] for table in profile_tables(complete)]
    assert titles == ["Latency", "Sustained", "Energy", "Memory", "Kernel", "Operations"]
    short = [table.title.split()[0] for table in profile_tables(complete, layers=False)]
    assert short == ["Latency", "Sustained", "Energy", "Memory"]


def test_latency(complete: dict[str, Any]) -> None:
    table = rows(complete, "Latency")
    assert {"min", "median", "p90", "p95", "p99", "max"} <= set(table)
    assert table["real-time factor"][1] == "0.25 (< 1 keeps up)"
    assert {row[2] for row in table.values()} == {"measured"}


def test_energy_says_where_each_number_comes_from(profile: dict[str, Any]) -> None:
    table = next(t for t in profile_tables(profile) if t.title.startswith("Energy"))
    assert table.rows[0] == (
        "measured energy",
        "—",
        "unavailable",
        "energy measurement is switched off",
    )
    assert {row[2] for row in table.rows} == {"estimated", "unavailable"}


def test_measured_energy(complete: dict[str, Any]) -> None:
    table = rows(complete, "Energy")
    assert table["energy above idle"][1:] == ("2.10 ± 0.60 mJ", "measured", "rapl")
    assert table["idle power after"][1] == "10.5 W"


def test_sustained_run_is_thinned_out(complete: dict[str, Any]) -> None:
    table = next(t for t in profile_tables(complete) if t.title.startswith("Sustained"))
    assert "25.0 % slower" in table.title
    assert [row[0] for row in table.rows][:3] == ["0 s", "3 s", "6 s"]
    assert table.rows[0][3:] == ("1500 MHz", "48 °C")
    assert table.rows[1][3:] == ("unavailable", "unavailable")


def test_many_layers_are_joined(profile: dict[str, Any]) -> None:
    layer = profile["layers"]["layers"][0]
    profile["layers"]["layers"] = [{**layer, "name": f"l{i}", "share": 0.04} for i in range(25)]
    table = next(t for t in profile_tables(profile) if t.title.startswith("Kernel"))
    assert len(table.rows) == 21
    assert table.rows[-1][0] == "5 more layers"
    assert table.rows[-1][3] == "20.0 %"


def test_operations_total(profile: dict[str, Any]) -> None:
    table = rows(profile, "Operations")
    assert list(table) == ["scale", "head", "total"]
    assert table["total"][1:3] == ("4", "4")


def test_comparison(profile: dict[str, Any], complete: dict[str, Any]) -> None:
    slower = {**complete, "latency": {**complete["latency"]}, "operations": None}
    slower["latency"]["median_ms"] = 2 * profile["latency"]["median_ms"]
    table = compare_table([profile, slower], ["a.json", "b.json"])
    found = {row[0]: row[1:] for row in table.rows}
    assert table.columns == ("", "a.json", "b.json")
    assert found["median / first"] == ("1.000×", "2.000×")
    assert found["adds, actual"][1] == "unavailable"
