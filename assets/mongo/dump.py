"""Documents out of a mongodump: directories, `.bson`, `.bson.gz` and archives, without a server.

The formats are those of the MongoDB database tools: a `.bson` file is documents end to end; an archive begins
with a magic number, describes its collections, and interleaves blocks of their documents.
"""

from __future__ import annotations

import gzip
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import bson

from assets.mongo.columns import Bytes, Columns
from assets.mongo.errors import SourceError
from assets.progress import Progress, silent

Feed: TypeAlias = Callable[[Bytes, int], tuple[int, int]]
"""Takes the whole documents in bytes from a place on; how many it counts, and where the last one ends."""

PIECE_BYTES = 8 << 20
MAX_DOCUMENT_BYTES = 48 << 20
"""The server's limit of a document is 16 MiB; its own documents may be larger."""

BUCKETS = "system.buckets."
"""How the collections begin that time-series collections are kept in."""

ARCHIVE_MAGIC = (0x8199E26D).to_bytes(4, "little")
GZIP_MAGIC = b"\x1f\x8b"
TERMINATOR = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class DumpFile:
    """One file of documents, or one archive."""

    path: Path
    compressed: bool
    archive: bool

    @property
    def name(self) -> str:
        """Collection that a file of documents holds."""
        return self.path.name.removesuffix(".gz").removesuffix(".bson")


def find_files(dump: str, database: str | None = None) -> list[DumpFile]:
    """Files of a dump, in the order in which they are read.

    Parameters
    ----------
    dump
        A file, or a directory as `mongodump --out` makes it.
    database
        Subdirectory of a directory; needed where there are several.

    Raises
    ------
    SourceError
        Nothing is there, or it is not clear what is meant.
    """
    root = Path(dump)
    if root.is_file():
        return [_inspect(root)]
    if not root.is_dir():
        raise SourceError(f"dump {dump!r}: no such file or directory")
    if database is not None and (root / database).is_dir():
        root = root / database
    found = _documents(root)
    if not found:
        below = [child for child in sorted(root.iterdir()) if child.is_dir() and _documents(child)]
        if len(below) > 1:
            names = ", ".join(child.name for child in below)
            raise SourceError(
                f"dump {dump!r} holds several databases; choose one by source.database: {names}"
            )
        found = _documents(below[0]) if below else []
    if not found:
        raise SourceError(f"dump {dump!r}: no .bson or .bson.gz file inside")
    return [_inspect(path) for path in found]


def _documents(root: Path) -> list[Path]:
    paths = sorted([*root.glob("*.bson"), *root.glob("*.bson.gz")])
    buckets = [path.name for path in paths if path.name.startswith(BUCKETS)]
    if buckets:
        raise SourceError(
            f"dump {str(root)!r} holds {buckets[0]}, the packed measurements of a time-series collection, "
            "which only a server can unpack; restore the dump into one and read that, or take the file out"
        )
    return [path for path in paths if not path.name.startswith("system.")]


def _inspect(path: Path) -> DumpFile:
    with path.open("rb") as file:
        start = file.read(4)
    compressed = start[:2] == GZIP_MAGIC
    if compressed:
        with gzip.open(path) as inside:
            start = inside.read(4)
    return DumpFile(path, compressed, start == ARCHIVE_MAGIC)


def read_dump(file: DumpFile, columns: Columns, progress: Progress = silent, num_before: int = 0) -> int:
    """Walk all documents of a dump file; how many there are.

    Raises
    ------
    SourceError
        The file is damaged or cut off; the message names the file and the byte.
    """

    def feed(data: Bytes, start: int) -> tuple[int, int]:
        return columns.feed(data, start, partial=True), columns.consumed

    with columns.written_behind():
        return scan_dump(file, feed, progress, num_before)


def scan_dump(file: DumpFile, feed: Feed, progress: Progress = silent, num_before: int = 0) -> int:
    """Give all bytes of a dump file to a function; the sum of its counts. Raises as `read_dump` does."""
    with _opened(file) as source:
        pieces = _Pieces(source, file.path)
        num_documents = 0
        for _ in _blocks(pieces) if file.archive else (None,):
            while True:
                number, pieces.place = feed(pieces.data, pieces.place)
                num_documents += number
                progress(num_before + num_documents, None, "documents")
                rest = pieces.rest()
                if file.archive and rest[:4] == TERMINATOR:
                    pieces.place += 4
                    break
                if not pieces.more():
                    if pieces.rest() or file.archive:
                        pieces.fail("no whole document follows")
                    break
    return num_documents


@contextmanager
def _opened(file: DumpFile) -> Iterator[Any]:
    if file.compressed:
        with gzip.open(file.path) as inside:
            yield inside
        return
    with file.path.open("rb") as plain:
        yield plain


class _Pieces:
    """A file as a window of bytes that moves forward."""

    def __init__(self, source: Any, path: Path) -> None:
        self._source = source
        self._path = path
        self._offset = 0
        self.data: memoryview = memoryview(b"")
        self.place = 0
        self._mapped: mmap.mmap | None = None
        if not isinstance(source, gzip.GzipFile) and path.stat().st_size:
            self._mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
            self._mapped.madvise(mmap.MADV_SEQUENTIAL)
            self._end = 0
        self.more()

    def rest(self) -> memoryview:
        """Bytes of the window that were not read yet."""
        return self.data[self.place :]

    def more(self) -> bool:
        """Move the window on, behind what was read; False at the end of the file."""
        left = len(self.data) - self.place
        if left > MAX_DOCUMENT_BYTES:
            self.fail(f"a document of more than {MAX_DOCUMENT_BYTES} bytes")
        if self._mapped is not None:
            start = self._end - left
            end = min(len(self._mapped), self._end + PIECE_BYTES)
            grown = end > self._end
            self.data = memoryview(self._mapped)[start:end]
            self._end = end
        else:
            try:
                piece = self._source.read(PIECE_BYTES)
            except (EOFError, OSError) as error:
                raise SourceError(f"{self._path}: cannot be decompressed: {error}") from error
            grown = bool(piece)
            self.data = memoryview(bytes(self.rest()) + piece)
        self._offset += self.place
        self.place = 0
        return grown

    def take_document(self) -> dict[str, Any] | None:
        """The next document, decoded; None in front of a terminator, which is skipped."""
        while True:
            rest = self.rest()
            if len(rest) >= 4:
                if rest[:4] == TERMINATOR:
                    self.place += 4
                    return None
                size = int.from_bytes(rest[:4], "little", signed=True)
                if size < 5:
                    self.fail("no document follows")
                if size <= len(rest):
                    self.place += size
                    try:
                        return bson.decode(rest[:size])
                    except bson.errors.InvalidBSON as error:
                        self.fail(str(error))
            if not self.more():
                self.fail("cut off")

    def fail(self, what: str) -> None:
        """Raise, with the place in the file."""
        raise SourceError(f"{self._path}: damaged at byte {self._offset + self.place}: {what}")


def _blocks(pieces: _Pieces) -> Iterator[None]:
    """Come to the documents of every block of an archive in turn."""
    pieces.place += 4
    while pieces.take_document() is not None:
        pass  # the archive's header and the description of every collection
    while len(pieces.rest()) or pieces.more():
        header = pieces.take_document()
        if header is None or "collection" not in header:
            pieces.fail("no header of a block")
        elif header.get("EOF"):
            if pieces.take_document() is not None:
                pieces.fail("documents behind the end of a collection")
        else:
            yield None
