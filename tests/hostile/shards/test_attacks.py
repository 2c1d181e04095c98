"""Every attack of the folder is refused for the reason that its name gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards import ManifestError, ShardStore, UnsupportedFormat
from shards.errors import Problem
from shards.limits import MAX_CONTAINERS, MAX_MANIFEST_BYTES
from shards.manifest import seal
from shards.parse import parse
from tests.hostile.shards.dataset import DATASET, build
from tests.hostile.shards.make_attacks import FOLDER, attacks

ATTACKS = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_an_attack_is_refused(path: Path) -> None:
    with pytest.raises(ManifestError) as refused:
        parse(path.name, path.read_bytes())
    assert path.name.partition("--")[0] in {problem.kind for problem in refused.value.problems}


def test_the_folder_is_what_its_program_makes() -> None:
    assert {path.stem for path in ATTACKS} == {name for name, _ in attacks()}
    print(f"{len(ATTACKS)} attacks refused")


def test_all_problems_are_reported_at_once() -> None:
    members = {"format": "shardmill", "format_version": 1, "required_features": [], "number": -1, "x": 1}
    with pytest.raises(ManifestError) as refused:
        parse("m", seal(members))
    assert len(refused.value.problems) >= 16


def test_a_reader_of_an_unknown_version_says_so() -> None:
    path = FOLDER / "unknown_version--two.json"
    with pytest.raises(UnsupportedFormat, match="upgrade"):
        parse("m", path.read_bytes())


def test_a_manifest_in_another_place_is_refused(tmp_path: Path) -> None:
    store = build(tmp_path)
    first, second = sorted(tmp_path.glob("*/records/manifests/*/*.json"))
    content = second.read_bytes()
    first.unlink()
    first.write_bytes(content)
    with pytest.raises(ManifestError, match="wrong_place"):
        store.snapshot(DATASET)


def test_a_version_that_replaces_a_pinned_one_is_refused(tmp_path: Path) -> None:
    """Equal number and place, other content: the snapshot's pin does not fit."""
    store, other = build(tmp_path / "a"), build(tmp_path / "b", keys=("2024-02", "2024-01"))
    for path in (tmp_path / "b" / DATASET / "records").rglob("*"):
        target = tmp_path / "a" / path.relative_to(tmp_path / "b")
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.unlink(missing_ok=True)
            target.write_bytes(path.read_bytes())
    assert other.snapshot(DATASET).num_rows == 4
    with pytest.raises(Exception, match="the snapshot pinned"):
        store.snapshot(DATASET)


def test_large_manifests_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="too_large"):
        parse("m", bytes(MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ManifestError, match="too_many_members"):
        parse("m", b"[" * (MAX_CONTAINERS + 1))
    store = ShardStore(tmp_path)
    with store.begin("d", "a") as attempt:
        attempt.commit()
    path = next(tmp_path.glob("d/a/manifests/*/*.json"))
    with path.open("r+b") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(Exception, match="allowed are"):
        store.latest("d", "a")


def test_problems_read_well() -> None:
    assert (
        str(Problem("/number", "out_of_range", "0", "1 to 9"))
        == "/number: out_of_range: got 0, allowed 1 to 9"
    )
