"""Pictures fetched from URLs, kept by content: a repeated or resumed run asks only what may have changed."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import xxhash

from assets.vision.errors import BuildError
from shards.remote import is_url

DIRECTORY = "SHARDS_PICTURE_CACHE"
"""Environment variable that says where pictures are kept."""

FRESH_SECONDS: Final = 3_600.0
"""An entry this young is used without asking: what a resumed run fetched before it stopped."""


def cache_directory(root: str) -> Path:
    """Return where pictures fetched from URLs are kept, for the shards below `root`.

    What `SHARDS_PICTURE_CACHE` says; else `picture-cache` beside a root that is a directory, where that can
    be written; else `shardmill/picture-cache` in the user's cache (`XDG_CACHE_HOME`, or `~/.cache`).

    Raises
    ------
    BuildError
        The variable holds an address.
    """
    given = os.environ.get(DIRECTORY)
    if given:
        if "://" in given:
            raise BuildError(f"{DIRECTORY}: expected a directory, got {given!r}")
        return Path(given)
    if not is_url(root):
        beside = Path(root).absolute().parent / "picture-cache"
        if _can_write(beside) or (_can_write(beside.parent) and not beside.exists()):
            return beside
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shardmill" / "picture-cache"


def _can_write(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one address."""

    data: bytes
    etag: str
    last_modified: str
    is_fresh: bool


class ContentCache:
    """A directory of contents by hash, and of addresses that point to them. Thread- and process-safe.

    Files are written beside their place and renamed. A content that does not have its hash is fetched again.

    Parameters
    ----------
    root
        Directory; made when it is not there.
    max_bytes
        When the contents are larger than this on opening, those that were not used for longest are removed.
    """

    def __init__(self, root: Path, max_bytes: int = 8 << 30, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._contents, self._addresses = root / "contents", root / "addresses"
        self._fresh_seconds = fresh_seconds
        for directory in (self._contents, self._addresses):
            directory.mkdir(parents=True, exist_ok=True)
        self._evict(max_bytes)

    def get(self, url: str) -> Entry | None:
        """Give what is kept for an address, if it is whole."""
        try:
            known: dict[str, Any] = json.loads(self._address(url).read_bytes())
            path = self._contents / str(known["content"])
            data = path.read_bytes()
            if known["url"] != url or xxhash.xxh3_128_hexdigest(data) != known["content"]:
                return None
            os.utime(path)
            age_seconds = time.time() - float(known["fetched_at"])
            return Entry(data, known["etag"], known["last_modified"], 0 <= age_seconds < self._fresh_seconds)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent or damaged: the same as unknown

    def put(self, url: str, data: bytes, etag: str, last_modified: str) -> None:
        """Keep what an address gave just now."""
        content = xxhash.xxh3_128_hexdigest(data)
        path = self._contents / content
        if not path.exists():
            _write(path, data)
        known = {
            "url": url,
            "content": content,
            "etag": etag,
            "last_modified": last_modified,
            "fetched_at": time.time(),
        }
        _write(self._address(url), json.dumps(known).encode())

    def _address(self, url: str) -> Path:
        return self._addresses / f"{xxhash.xxh3_128_hexdigest(url.encode())}.json"

    def _evict(self, max_bytes: int) -> None:
        files = []
        for path in self._contents.iterdir():
            try:
                files.append((path.stat().st_mtime, path.stat().st_size, path))
            except FileNotFoundError:
                continue  # another process evicts too
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def _write(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
