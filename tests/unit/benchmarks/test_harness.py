"""How benchmarks measure: alternation, ratios within a round, absent and failing peers, goals, the README."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.__main__ import BEGIN, END, refreshed
from benchmarks.harness import ROOT, Absent, Suite, requires, table


def scripted(log, name, values):
    """Give a participant that measures itself: it returns the next value each time."""
    remaining = list(values)

    def run():
        log.append(name)
        return remaining.pop(0)

    return run


def test_participants_take_turns_and_ratios_are_of_one_round():
    log = []
    suite = Suite("shape", rounds=3)
    figure = suite.leg(
        "leg",
        unit="rows/s",
        ours=scripted(log, "ours", [0, 10, 20, 40]),
        limit=scripted(log, "limit", [0, 20, 40, 80]),
        peers={"a": scripted(log, "a", [0, 5, 5, 40]), "b": scripted(log, "b", [0, 1, 1, 1])},
        goals={"vs_best_peer": ">= 2", "vs_limit": ">= 0.5"},
    )
    assert log[:4] == log[4:8] == ["ours", "limit", "a", "b"]
    assert log[8:12] == ["limit", "a", "b", "ours"]
    assert log[12:] == ["a", "b", "ours", "limit"]
    assert (figure.ours, figure.limit, figure.peers) == (20, 40, {"a": 5, "b": 1})
    assert (figure.vs_best_peer, figure.vs_limit, figure.met) == (2, 0.5, True)


def test_the_best_peer_is_the_smallest_where_less_is_better():
    suite = Suite("shape", rounds=1)
    peers = {"slow": lambda: 8.0, "fast": lambda: 2.0}
    figure = suite.leg(
        "leg", unit="s", ours=lambda: 1.0, peers=peers, better="lower", goals={"ours": "<= 0.5"}
    )
    assert figure.vs_best_peer == 0.5
    assert figure.met is False
    assert "NO" in table([figure])


def test_absent_and_failing_peers_are_named_and_leave_the_goal_undecided(capsys):
    suite = Suite("shape", rounds=1)
    peers = {
        "x": Absent("Windows only"),
        "y": requires("no_such_module.inner", lambda: 1.0),
        "z": lambda: 1 / 0,
    }
    figure = suite.leg(
        "leg", unit="rows/s", amount=1, ours=lambda: None, peers=peers, goals={"vs_best_peer": ">= 2"}
    )
    suite.skip("gpu leg", "no GPU is here")
    assert figure.peers == {"x": None, "y": None, "z": None}
    assert figure.met is None
    assert suite.finish() == 0
    printed = capsys.readouterr().out
    assert "absent: x: Windows only" in printed
    assert "absent: y: no_such_module.inner is not installed" in printed
    assert "absent: z: failed: ZeroDivisionError" in printed
    assert "skipped: gpu leg: no GPU is here" in printed


def test_an_error_of_ours_ends_the_run():
    with pytest.raises(ZeroDivisionError):
        Suite("shape", rounds=1).leg("leg", unit="rows/s", ours=lambda: 1 / 0)


def test_the_json_has_the_agreed_members(tmp_path):
    suite = Suite.from_command_line(
        "shape", "doc", ["--quick", "--json", str(tmp_path / "deep" / "out.json")]
    )
    assert suite.quick
    suite.leg("leg", unit="rows/s", amount=10, ours=lambda: None)
    suite.finish()
    written = json.loads((tmp_path / "deep" / "out.json").read_text())
    assert {"name", "machine", "figures"} <= written.keys()
    members = {"leg", "unit", "ours", "limit", "peers", "vs_best_peer", "vs_limit", "goal", "met"}
    assert written["figures"][0].keys() == members
    text = refreshed(f"a\n{BEGIN}\nold\n{END}\nb\n", [written])
    assert text.startswith("a\n")
    assert text.endswith("\nb\n")
    assert "shape: leg" in text
    assert "old" not in text


def result(name: str, day: str, ours: float) -> dict[str, object]:
    suite = Suite(name, rounds=1)
    peers = {f"peer {number}": (lambda number=number: float(number)) for number in range(7)}
    for leg in ("one", "two"):
        suite.leg(leg, unit="rows/s", ours=lambda: ours, peers=peers)
    return suite.as_json() | {"day": day}


def test_rows_of_other_benchmarks_stay_as_they_are():
    first = refreshed(f"{BEGIN}{END}", [result("format", "2026-01-01", 1), result("scale", "2026-01-01", 2)])
    text = refreshed(first, [result("format", "2026-02-02", 30)])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split()[1] for row in rows[2:]] == ["format:", "format:", "scale:", "scale:"]
    assert "30" in rows[2]
    assert "30" not in rows[4]
    assert "peer 6 6, peer 5 5, peer 4 4, peer 3 3 " in rows[2]
    assert "peer 2" not in text
    assert "- format: 2026-02-02 on" in text
    assert "- scale: 2026-01-01 on" in text
    assert refreshed(text, []) == text


def test_a_readme_without_markers_is_refused():
    with pytest.raises(ValueError, match="markers"):
        refreshed("nothing here", [])


def test_the_readme_has_the_markers():
    assert BEGIN in (ROOT / "README.md").read_text()


def test_an_unknown_benchmark_is_refused_with_those_there_are():
    command = [sys.executable, "-m", "benchmarks", "nonsense"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "no benchmark nonsense; there are:" in ended.stderr
