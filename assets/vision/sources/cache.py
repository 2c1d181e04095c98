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

FRESH_SECONDS: Final = 3_600.0
"""An entry this young is used without asking: what a resumed run fetched before it stopped."""


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
