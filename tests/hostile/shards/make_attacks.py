"""How the folder of attacks was made: each file breaks a sound manifest in one way.

`python -m tests.hostile.shards.make_attacks` writes `attacks/<kind>--<how>.json`; `<kind>` is the kind of the
problem that must be reported.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xxhash

from shards.manifest import seal
from tests.hostile.shards.dataset import build

FOLDER = Path(__file__).parent / "attacks"
Change = Callable[[dict[str, Any]], object]


def _set(*path: Any) -> Callable[[Any], Change]:
    def to(value: Any) -> Change:
        def change(tree: Any) -> None:
            for key in path[:-1]:
                tree = tree[key]
            tree[path[-1]] = value

        return change

    return to


def _drop(*path: Any) -> Change:
    def change(tree: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        del tree[path[-1]]

    return change


_file = _set("columns", 0, "shards", 0, "file")
RECORDS: dict[str, Change] = {
    "bad_name--absolute_path": _file("/etc/passwd"),
    "bad_name--parent_path": _file("../../../outside.npy"),
    "bad_name--backslash_path": _file("..\\outside.npy"),
    "bad_name--nul_in_path": _file("column.x.000000.npy\x00"),
    "bad_name--another_column_of_the_version": _file("column.x__present.000000.npy"),
    "bad_name--position_out_of_order": _file("column.x.000001.npy"),
    "bad_name--dataset_climbs": _set("dataset")(".."),
    "bad_name--attempt_climbs": _set("attempt")("../../documents"),
    "bad_name--column_name": _set("columns", 0, "name")("X y"),
    "bad_name--hash_upper_case": _set("columns", 0, "shards", 0, "xxh3_128")("A" * 32),
    "bad_name--hash_short": _set("columns", 0, "shards", 0, "xxh3_128")("0" * 31),
    "bad_name--time_without_zone": _set("created_at")("2024-01-01T00:00:00.000000"),
    "bad_value--time_that_never_was": _set("created_at")("2024-02-30T00:00:00.000000Z"),
    "bad_value--partition_empty": _set("partition")(""),
    "bad_value--provenance_is_a_uri": _set("provenance", "source_alias")("mongodb://user:password@host"),
    "bad_value--arrow_type_unknown": _set("columns", 2, "arrow_type")("extension<pickle>"),
    "bad_value--arrow_type_deep": _set("columns", 2, "arrow_type")("list<" * 40 + "int8" + ">" * 40),
    "bad_value--arrow_type_huge_list": _set("columns", 2, "arrow_type")("fixed_size_list<int8>[9999999999]"),
    "bad_value--mask_is_itself_npy_with_arrow_type": _set("columns", 0, "arrow_type")("int8"),
    "bad_dtype--object": _set("columns", 0, "dtype")("|O"),
    "bad_dtype--big_endian": _set("columns", 0, "dtype")(">f4"),
    "bad_dtype--void": _set("columns", 0, "dtype")("|V0"),
    "bad_dtype--unicode": _set("columns", 0, "dtype")("<U100000000"),
    "out_of_range--negative_shape": _set("columns", 0, "shape")([-2]),
    "out_of_range--zero_shape": _set("columns", 0, "shape")([0]),
    "out_of_range--overflowing_shape": _set("columns", 0, "shape")([2**32, 2**32]),
    "out_of_range--negative_rows": _set("columns", 0, "shards", 0, "rows")(-1),
    "out_of_range--no_rows": _set("columns", 0, "shards", 0, "rows")(0),
    "out_of_range--number_zero": _set("number")(0),
    "out_of_range--rows_beyond": _set("num_rows")(2**60),
    "out_of_range--bytes_beyond": _set("columns", 0, "shards", 0, "bytes")(2**50),
    "out_of_range--input_zero": _set("inputs", "documents")(0),
    "wrong_size--one_byte_more": _set("columns", 0, "shards", 0, "bytes")(145),
    "wrong_size--shape_times_rows_wraps": _set("columns", 0, "shape")([2**31 - 1] * 8),
    "wrong_rows--shards_hold_less": _set("num_rows")(3),
    "wrong_rows--no_shards": _set("columns", 0, "shards")([]),
    "wrong_type--boolean_number": _set("number")(True),
    "wrong_type--float_rows": _set("num_rows")(2.0),
    "wrong_type--columns_object": _set("columns")({}),
    "wrong_type--shard_null": _set("columns", 0, "shards", 0)(None),
    "wrong_type--name_list": _set("columns", 0, "name")(["x"]),
    "wrong_type--statistics_list": _set("statistics")([]),
    "too_many--dimensions": _set("columns", 0, "shape")([1] * 9),
    "too_long--provenance": _set("provenance", "run_id")("a" * 1025),
    "unknown_member--column": _set("columns", 0, "pickle")("gASV"),
    "unknown_member--manifest": _set("next")("00000002.json"),
    "unknown_member--provenance": _set("provenance", "uri")("x"),
    "missing_member--shards": _drop("columns", 0, "shards"),
    "missing_member--number": _drop("number"),
    "duplicate_name--two_columns": lambda tree: tree["columns"].append(tree["columns"][0]),
    "unknown_mask--absent": _set("columns", 0, "mask")("absent"),
    "unknown_mask--not_boolean": _set("columns", 1, "mask")("x"),
    "unknown_feature--required": _set("required_features")(["compression"]),
    "unknown_feature--not_text": _set("required_features")([1]),
    "unknown_version--two": _set("format_version")(2),
    "unknown_version--text": _set("format_version")("1"),
    "wrong_format--other": _set("format")("parquet"),
    "too_deep--statistics": _set("statistics", "a")(json.loads("[" * 40 + "]" * 40)),
}
SNAPSHOT: dict[str, Change] = {
    "wrong_rows--partitions_hold_more": _set("snapshot", "partitions", 0, "num_rows")(99),
    "not_sorted--partitions": lambda tree: tree["snapshot"]["partitions"].reverse(),
    "wrong_partitions--pin_missing": _drop("snapshot", "pins", "records", "2024-01"),
    "unknown_parent--subset": _set("snapshot", "subsets", 0, "parent")("absent"),
    "bad_dtype--signed_index": _set("snapshot", "splits", 0, "dtype")("<i8"),
    "bad_name--split_climbs": _set("snapshot", "splits", 0, "name")("../x"),
    "out_of_range--pin_zero": _set("snapshot", "pins", "records", "2024-01", "number")(0),
    "bad_name--pin_hash": _set("snapshot", "pins", "records", "2024-01", "content_hash")("x"),
    "wrong_type--transform_without_op": _set("snapshot", "transforms", "x")([{}]),
    "too_many--index_of_two_files": lambda tree: tree["snapshot"]["splits"][0]["shards"].append({}),
    "bad_value--vocabulary_type": _set("snapshot", "vocabularies", 0, "arrow_type")("object"),
    "missing_member--pins": _drop("snapshot", "pins"),
}
RAW: dict[str, Callable[[bytes], bytes]] = {
    "checksum--empty_file": lambda data: b"",
    "checksum--cut": lambda data: data[: len(data) // 2],
    "checksum--number_changed": lambda data: data.replace(b'"number":1', b'"number":2', 1),
    "checksum--more_after_the_end": lambda data: data + b"{}",
    "duplicate_key--number": lambda data: _resealed(data, b'"number":1,', b'"number":1,"number":1,'),
    "not_finite--nan": lambda data: _resealed(data, b'"number":1,', b'"number":NaN,'),
    "not_finite--infinity": lambda data: _resealed(data, b'"number":1,', b'"number":-Infinity,'),
    "not_finite--exponent": lambda data: _resealed(data, b'"number":1,', b'"number":1e999,'),
    "number_out_of_range--long": lambda data: _resealed(
        data, b'"number":1,', b'"number":' + b"9" * 5000 + b","
    ),
    "not_utf8--byte": lambda data: _resealed(data, b'"metadata":{}', b'"metadata":{"a":"\xff"}'),
    "not_json--comment": lambda data: _resealed(data, b'"number":1,', b'/* one */"number":1,'),
    "not_json--two_values": lambda data: _resealed(data, b'"number":1,', b'"number":1 2,'),
    "too_deep--parser": lambda data: _resealed(
        data, b'"metadata":{}', b'"metadata":' + b"[" * 9999 + b"]" * 9999
    ),
}


def _resealed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    body = data[: data.rindex(b',"checksum"')].replace(old, new, 1)
    return body + b',"checksum":"' + xxhash.xxh3_128_hexdigest(body).encode() + b'"}\n'


def attacks() -> Iterator[tuple[str, bytes]]:
    """Every attack: its name and bytes."""
    with tempfile.TemporaryDirectory() as root:
        build(Path(root))
        read = {
            asset: next(Path(root).glob(f"*/{asset}/manifests/*/*.json")).read_bytes()
            for asset in ("records", "snapshot")
        }
    for asset, changes in (("records", RECORDS), ("snapshot", SNAPSHOT)):
        for name, change in changes.items():
            tree = copy.deepcopy(json.loads(read[asset]))
            del tree["checksum"]
            change(tree)
            yield f"{name}{'_of_a_snapshot' if asset == 'snapshot' else ''}", seal(tree)
    for name, spoil in RAW.items():
        yield name, spoil(read["records"])


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, data in attacks():
        (FOLDER / f"{name}.json").write_bytes(data)
