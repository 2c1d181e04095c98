"""The store of the scale benchmark, made small, is a store like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import DATASET, MANIFESTS, MEMORY, alone, anonymous_bytes, make, manifest_bytes, measure
from loaders import ShardDataset
from shards import DamagedFile, ShardStore
from shards.snapshot import CHECKED_FILES


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scale")
    make(path, 40, 300, 50)
    return str(path)


def test_everything_that_is_measured_runs(root):
    assert anonymous_bytes() > 0
    found = measure(root)
    assert set(found) == {
        "open", "plan full", "plan block", "resume full", "resume block", "many full", "memory",
        "memory open",
    }  # fmt: skip


def test_manifests_and_memory_are_those_of_the_cost_model(root):
    assert manifest_bytes(Path(root)) == pytest.approx(MANIFESTS.of(40, 12_000), rel=0.05)
    assert alone(Path(root))["memory open"] * 1e6 == pytest.approx(MEMORY.of(40, 12_000), rel=0.5)


def test_rows_lie_where_the_manifests_say(root):
    snapshot = ShardStore(root).snapshot(DATASET)
    assert snapshot.num_rows == 40 * 300 * 50
    reader = snapshot.column("label")
    assert reader.num_shards == 12_000 > CHECKED_FILES
    assert np.array_equal(reader.shard_offsets, np.arange(0, 600_001, 50))


def test_a_file_beyond_those_looked_at_is_checked_when_it_is_mapped(root, tmp_path):
    make(tmp_path, 40, 300, 50)
    reader = ShardStore(tmp_path).snapshot(DATASET).column("label")
    (tmp_path / reader.path(11_999)).write_bytes(b"short")
    reader = ShardStore(tmp_path).snapshot(DATASET).column("label")
    with pytest.raises(DamagedFile, match="5 bytes"):
        reader.shard(11_999)
    (tmp_path / reader.path(0)).write_bytes(b"short")
    with pytest.raises(DamagedFile, match="5 bytes"):
        ShardStore(tmp_path).snapshot(DATASET)


def test_a_first_batch_maps_no_more_than_its_own_shards(root):
    dataset = ShardDataset(f"{root}/{DATASET}", lease_seconds=None)
    batches = iter(dataset.loader(16, shuffle=True, num_threads=0))
    mapped = dataset.opened.columns["label"]._open.arrays
    for most in (1, 2, 4, 4, 8):  # batches that are gathered once so many were taken
        next(batches)
        assert 0 < len(mapped) <= 16 * most


def test_a_large_index_that_names_rows_which_do_not_exist_is_refused_when_it_is_used(tmp_path):
    make(tmp_path, 2, 1, 1_000_000)
    store = ShardStore(tmp_path)
    version = store.snapshot(DATASET).version
    path = tmp_path / version.files()[0].path
    with path.open("r+b") as file:
        file.seek(128 + 4 * 10)
        file.write(np.array([4_000_000_000], "<u4").tobytes())
    dataset = ShardDataset(tmp_path / DATASET, lease_seconds=None)
    dataset.batch([9, 11])
    with pytest.raises(DamagedFile, match="names row 4000000000"):
        dataset.batch([9, 10])
