"""A file system in memory that tells what is written from what is durable, and fails where it is told to.

A process that is killed leaves everything written in place. A loss of power keeps what was synced; of the
rest, data may be dropped, torn or kept, and names may be dropped or kept, each by itself.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from shards.errors import DamagedFile, NotFound
from shards.storage import Buffer

Data = Literal["kept", "dropped", "torn"]
Names = Literal["kept", "dropped", "some"]


class Killed(BaseException):
    """The process ends here; nothing may catch it."""


@dataclass(eq=False)
class File:
    """An inode: bytes as written and as durable."""

    written: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    lost_pages: bool = False

    def after_loss(self, data: Data) -> File:
        content = {
            "kept": bytes(self.written) if not self.lost_pages else self.durable,
            "dropped": self.durable,
            "torn": self.durable
            if self.durable == self.written
            else bytes(self.written[: len(self.written) // 2]).ljust(len(self.written), b"\0"),
        }[data]
        return File(bytearray(content), content)


Change = tuple[tuple[str, "File | Directory | None"], ...]
"""Names set or removed at once."""


@dataclass(eq=False)
class Directory:
    """Names as written and as durable, and the changes between the two."""

    written: dict[str, File | Directory] = field(default_factory=dict)
    durable: dict[str, File | Directory] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def change(self, *change: tuple[str, File | Directory | None]) -> None:
        self.changes.append(change)
        _apply(self.written, change)

    def sync(self) -> None:
        self.durable, self.changes = dict(self.written), []

    def after_loss(self, data: Data, names: Names, chance: random.Random) -> Directory:
        entries = dict(self.durable)
        for change in self.changes:
            if names == "kept" or (names == "some" and chance.random() < 0.5):
                _apply(entries, change)
        left = {
            name: node.after_loss(data) if isinstance(node, File) else node.after_loss(data, names, chance)
            for name, node in entries.items()
        }
        return Directory(left, dict(left))


def _apply(entries: dict[str, File | Directory], change: Change) -> None:
    for name, node in change:
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


Fault = Literal["none", "before", "after", "torn", "enospc", "eio"]


class ModelStorage:
    """`shards.storage.Storage` over the model; `fault` strikes at operation number `at`."""

    in_place = True

    def __init__(self, root: Directory | None = None, fault: Fault = "none", at: int = -1) -> None:
        self.root = root or Directory()
        self.fault = fault
        self.at = at
        self.count = 0
        self.log: list[str] = []
        self.hook: Callable[[int], None] | None = None
        self.struck = False
        self.dead = False

    def step(self, operation: str, *, reads: bool = False) -> Fault:
        """Count an operation and fail if this is the one; `torn` and `after` are left to the caller."""
        if self.dead:
            raise Killed
        position, self.count = self.count, self.count + 1
        self.log.append(operation)
        if self.hook is not None:
            self.hook(position)
        if position != self.at or self.fault == "none":
            return "none"
        self.struck = True
        if self.fault == "before":
            self.dead = True
            raise Killed
        if self.fault == "eio":
            raise OSError(errno.EIO, "injected")
        if self.fault == "enospc" and not reads:
            raise OSError(errno.ENOSPC, "injected")
        return self.fault

    def done(self, fault: Fault) -> None:
        if fault in ("after", "torn"):
            self.dead = True
            raise Killed

    def _node(self, path: str) -> File | Directory | None:
        node: File | Directory | None = self.root
        for name in path.split("/") if path else []:
            node = node.written.get(name) if isinstance(node, Directory) else None
        return node

    def _directory(self, path: str) -> Directory:
        node = self._node(path)
        if not isinstance(node, Directory):
            raise FileNotFoundError(errno.ENOENT, path)
        return node

    def _place(self, path: str) -> tuple[Directory, str]:
        parent, _, name = path.rpartition("/")
        return self._directory(parent), name

    def create(self, path: str) -> ModelFile:
        parent, name = self._place(path)
        fault = self.step(f"create {name}")
        if name in parent.written:
            raise FileExistsError(errno.EEXIST, path)
        file = File()
        parent.change((name, file))
        self.done(fault)
        return ModelFile(self, file, name)

    def make_directory(self, path: str) -> None:
        fault = self.step("make_directory")
        if path:
            parent, name = self._place(path)
            if name not in parent.written:
                parent.change((name, Directory()))
        self.done(fault)

    def sync_directory(self, path: str) -> None:
        fault = self.step("sync_directory")
        self._directory(path).sync()
        self.done(fault)

    def link(self, source: str, target: str) -> None:
        fault = self.step("link")
        node = self._node(source)
        parent, name = self._place(target)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, source)
        if name in parent.written:
            raise FileExistsError(errno.EEXIST, target)
        parent.change((name, node))
        self.done(fault)

    def replace(self, source: str, target: str) -> None:
        fault = self.step("replace")
        (parent, old), (same, new) = self._place(source), self._place(target)
        assert parent is same, "the model renames within one directory"
        parent.change((old, None), (new, parent.written[old]))
        self.done(fault)

    def remove(self, path: str) -> None:
        fault = self.step("remove")
        parent, name = self._place(path)
        if name in parent.written:
            parent.change((name, None))
        self.done(fault)

    def remove_directory(self, path: str) -> None:
        fault = self.step("remove_directory")
        parent, name = self._place(path)
        node = parent.written.get(name)
        if isinstance(node, Directory):
            if node.written:
                raise OSError(errno.ENOTEMPTY, path)
            parent.change((name, None))
        self.done(fault)

    def names(self, path: str) -> list[str]:
        self.step("names", reads=True)
        node = self._node(path)
        return list(node.written) if isinstance(node, Directory) else []

    def sizes(self, path: str) -> dict[str, int]:
        self.step("sizes", reads=True)
        node = self._node(path)
        if not isinstance(node, Directory):
            return {}
        return {name: len(n.written) if isinstance(n, File) else -1 for name, n in node.written.items()}

    def age_seconds(self, path: str) -> float:
        self.step("age_seconds", reads=True)
        if self._node(path) is None:
            raise FileNotFoundError(errno.ENOENT, path)
        return 1e9

    def read(self, path: str, max_bytes: int) -> bytes:
        self.step("read", reads=True)
        node = self._node(path)
        if not isinstance(node, File):
            raise NotFound(path)
        if len(node.written) > max_bytes:
            raise DamagedFile(path, "is too large")
        return bytes(node.written)

    def map(self, path: str, size_bytes: int, xxh3_128: str = "") -> memoryview:
        self.step("map", reads=True)
        node = self._node(path)
        if not isinstance(node, File) or len(node.written) != size_bytes:
            raise DamagedFile(path, "is missing or of another size")
        return memoryview(bytes(node.written))

    def pieces(self, path: str, size_bytes: int) -> Iterator[memoryview]:
        yield self.map(path, size_bytes)


class ModelFile:
    """A new file of the model."""

    def __init__(self, storage: ModelStorage, file: File, name: str) -> None:
        self._storage = storage
        self._file = file
        self._name = name

    def write(self, data: Buffer) -> int:
        fault = self._storage.step(f"write {self._name}")
        raw = bytes(memoryview(data).cast("B"))
        self._file.written += raw[: len(raw) // 2] if fault == "torn" else raw
        self._storage.done(fault)
        return len(raw)

    def write_at(self, offset: int, data: bytes) -> None:
        fault = self._storage.step(f"write_at {self._name}")
        end = offset + (len(data) // 2 if fault == "torn" else len(data))
        self._file.written[offset:end] = data[: end - offset]
        self._storage.done(fault)

    def sync(self) -> None:
        try:
            fault = self._storage.step(f"sync {self._name}")
        except OSError:
            self._file.lost_pages = True  # as on Linux: the pages are marked clean and never written
            raise
        if not self._file.lost_pages:
            self._file.durable = bytes(self._file.written)
        self._storage.done(fault)

    def close(self) -> None:
        """Nothing to release."""


class WithoutFileSync(ModelStorage):
    """A mutant whose files are never durable."""

    def create(self, path: str) -> ModelFile:
        file = super().create(path)
        file.sync = lambda: None  # type: ignore[method-assign]
        return file


class WithoutDirectorySync(ModelStorage):
    """A mutant whose names are never durable."""

    def sync_directory(self, path: str) -> None:
        self.step("sync_directory")


class WithoutExclusiveLink(ModelStorage):
    """A mutant whose link overwrites."""

    def link(self, source: str, target: str) -> None:
        with_target = self._node(target)
        if with_target is not None:
            super().remove(target)
        super().link(source, target)
