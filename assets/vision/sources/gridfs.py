"""Pictures in GridFS, by id or by filename (the newest revision), in ordered scans of the files' parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from assets.vision.errors import FetchError

if TYPE_CHECKING:
    from pymongo.database import Database


def read_pictures(
    database: Database[Any], bucket: str, places: Sequence[ObjectId | str], max_bytes: int
) -> Iterator[tuple[ObjectId | str, bytes | FetchError]]:
    """Give every place once, with its bytes or the reason why there are none."""
    ids: dict[Any, list[ObjectId | str]] = {}
    lengths: dict[Any, int] = {}
    names = [place for place in places if isinstance(place, str)]
    latest: dict[str, dict[str, Any]] = {}
    query = {
        "$or": [{"_id": {"$in": [p for p in places if not isinstance(p, str)]}}, {"filename": {"$in": names}}]
    }
    by_id = {}
    for file in database[bucket].files.find(query, {"length": 1, "filename": 1, "uploadDate": 1}):
        by_id[file["_id"]] = file
        name = file.get("filename")
        if name not in latest or latest[name]["uploadDate"] <= file["uploadDate"]:
            latest[name] = file
    for place in places:
        file = latest.get(place) if isinstance(place, str) else by_id.get(place)
        if file is None:
            yield place, FetchError("not_found", expected=f"a file of bucket {bucket}", got="none")
        elif file["length"] > max_bytes:
            got = f"{file['length']} bytes"
            yield place, FetchError("too_many_bytes", expected=f"at most {max_bytes} bytes", got=got)
        else:
            ids.setdefault(file["_id"], []).append(place)
            lengths[file["_id"]] = file["length"]
    for file_id, data in _scan(database, bucket, list(ids)):
        for place in ids.pop(file_id):
            if len(data) == lengths[file_id]:
                yield place, data
            else:
                got = f"{len(data)} of {lengths[file_id]} bytes"
                yield place, FetchError("truncated", expected="all parts of a GridFS file", got=got)
    for file_id, missing in ids.items():
        for place in missing:
            if lengths[file_id] == 0:
                yield place, b""
            else:
                yield place, FetchError("truncated", expected="parts of a GridFS file", got="none")


def _scan(database: Database[Any], bucket: str, ids: list[Any]) -> Iterator[tuple[Any, bytes]]:
    current, parts = None, bytearray()
    for part in database[bucket].chunks.find({"files_id": {"$in": ids}}).sort([("files_id", 1), ("n", 1)]):
        if part["files_id"] != current:
            if current is not None:
                yield current, bytes(parts)
            current, parts = part["files_id"], bytearray()
        parts += part["data"]
    if current is not None:
        yield current, bytes(parts)
