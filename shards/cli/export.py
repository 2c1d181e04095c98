"""Exports of a snapshot, split by split: Parquet, a Hugging Face datasets folder, WebDataset tar files."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.cli.output import spell
from shards.cli.pictures import encoded, is_picture
from shards.cli.rows import arrow_type, arrow_values, split_rows
from shards.errors import InvalidArgument
from shards.readers import ColumnReader
from shards.schema import Column
from shards.snapshot import Snapshot

BATCH_ROWS = 1024
TAR_BYTES = 1 << 30
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

Progress = Callable[[int, int], None]


def export(snapshot: Snapshot, form: str, target: Path, progress: Progress) -> list[Path]:
    """Write a snapshot to a directory that is new or empty; the files written.

    Parameters
    ----------
    form
        `parquet`: one file a split, dense columns as lists of fixed size. `huggingface`: the same under
        `data/` with pictures as PNG and a description that `datasets.load_dataset(folder)` reads.
        `webdataset`: tar files of at most about 1 GiB, a JSON file and one file a picture for every row.
    """
    if target.exists() and any(target.iterdir()):
        raise InvalidArgument(f"{target}: is not empty; name a new directory")
    target.mkdir(parents=True, exist_ok=True)
    readers = {name: snapshot.column(name) for name in snapshot.columns}
    if form == "webdataset":
        return _export_tar(snapshot, readers, target, progress)
    return _export_parquet(snapshot, readers, target, progress, hugging_face=form == "huggingface")


def _total(snapshot: Snapshot) -> int:
    return sum(len(snapshot.index(split)) for split in snapshot.splits) or snapshot.num_rows


def _export_parquet(
    snapshot: Snapshot,
    readers: dict[str, ColumnReader],
    target: Path,
    progress: Progress,
    *,
    hugging_face: bool,
) -> list[Path]:
    columns = {name: reader.column for name, reader in readers.items()}
    pictured = {name for name, column in columns.items() if hugging_face and is_picture(column)}
    schema = pa.schema(
        [(name, _PICTURE if name in pictured else arrow_type(column)) for name, column in columns.items()]
    )
    if hugging_face:
        features = {name: {"_type": "Image"} for name in pictured}
        features |= {name: _feature(schema.field(name).type) for name in columns if name not in pictured}
        ordered = {name: features[name] for name in columns}
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": ordered}})})
        (target / "data").mkdir()
    done, written = 0, []
    for split, batches in split_rows(snapshot, BATCH_ROWS):
        path = target / (f"data/{split}-00000-of-00001.parquet" if hugging_face else f"{split}.parquet")
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for rows in batches:
                arrays = [
                    _picture_array(columns[name], reader.take(rows))
                    if name in pictured
                    else arrow_values(columns[name], reader.take(rows))
                    for name, reader in readers.items()
                ]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                done += len(rows)
                progress(done, _total(snapshot))
        written.append(path)
    if hugging_face:
        written.append(_describe(snapshot, target, [path.name for path in written]))
    return written


def _picture_array(column: Column, values: Any) -> pa.Array:
    return pa.array([{"bytes": encoded(column, value)[0], "path": None} for value in values], _PICTURE)


def _feature(dtype: pa.DataType) -> dict[str, Any]:
    """Feature of `datasets` for an Arrow type."""
    if pa.types.is_fixed_size_list(dtype):
        return {"feature": _feature(dtype.value_type), "length": dtype.list_size, "_type": "List"}
    if pa.types.is_large_list(dtype):
        return {"feature": _feature(dtype.value_type), "_type": "LargeList"}
    if pa.types.is_list(dtype):
        return {"feature": _feature(dtype.value_type), "_type": "List"}
    if pa.types.is_struct(dtype):
        return {field.name: _feature(field.type) for field in dtype}
    names = {"halffloat": "float16", "float": "float32", "double": "float64", "date32[day]": "date32"}
    return {"dtype": names.get(str(dtype), str(dtype)), "_type": "Value"}


def _describe(snapshot: Snapshot, target: Path, files: list[str]) -> Path:
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split, file in zip(snapshot.splits or ["all"], files, strict=True):
        lines += [f"  - split: {split}", f"    path: data/{file}"]
    lines += ["---", "", f"# {snapshot.dataset}, snapshot {snapshot.number}", ""]
    path = target / "README.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _export_tar(
    snapshot: Snapshot, readers: dict[str, ColumnReader], target: Path, progress: Progress
) -> list[Path]:
    pictures = {name: reader for name, reader in readers.items() if is_picture(reader.column)}
    others = {name: reader for name, reader in readers.items() if name not in pictures}
    done, written = 0, []
    for split, batches in split_rows(snapshot, 256):
        archive: tarfile.TarFile | None = None
        position = 0
        for rows in batches:
            if archive is None or archive.offset >= TAR_BYTES:
                if archive is not None:
                    archive.close()
                written.append(target / f"{split}-{position:06d}.tar")
                archive = tarfile.open(written[-1], "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
                position += 1
            _add_rows(archive, pictures, others, rows)
            done += len(rows)
            progress(done, _total(snapshot))
        if archive is not None:
            archive.close()
    return written


def _add_rows(
    archive: tarfile.TarFile,
    pictures: dict[str, ColumnReader],
    others: dict[str, ColumnReader],
    rows: Any,
) -> None:
    taken = {name: reader.take(rows) for name, reader in pictures.items()}
    plain = {
        name: arrow_values(reader.column, reader.take(rows)).to_pylist() for name, reader in others.items()
    }
    for position, row in enumerate(rows.tolist()):
        for name, reader in pictures.items():
            data, suffix = encoded(reader.column, taken[name][position])
            _add(archive, f"{row:012d}.{name}.{suffix}", data)
        members = {name: values[position] for name, values in plain.items()}
        _add(archive, f"{row:012d}.json", json.dumps(members, default=spell).encode())


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
