"""Objects in S3, Google Cloud Storage and Azure Blob Storage, through `obstore` (extra `objects`)."""

from __future__ import annotations

import importlib
import threading
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from assets.vision.errors import BuildError, FetchError
from assets.vision.sources.locate import OBJECT_SCHEMES

_MAX_STORES: Final = 256


class ObjectFetcher:
    """Read objects by address (`s3://bucket/key`), credentials and region from the environment; thread-safe.

    Parameters
    ----------
    root
        An address (`s3://bucket/prefix`) that every object must be below; None allows every bucket that the
        credentials allow.
    options
        Further settings of `obstore.store.from_url`; for tests and for servers of one's own.
    """

    def __init__(self, root: str | None, options: dict[str, Any] | None = None) -> None:
        try:
            self._library = importlib.import_module("obstore")
            self._stores = importlib.import_module("obstore.store")
        except ModuleNotFoundError:
            raise BuildError(
                "an image column reads an object store: expected the package obstore, found none; "
                "install shardmill[objects]"
            ) from None
        self._root = _split(root) if root is not None else None
        self._options = options or {}
        self._open: dict[str, Any] = {}
        self._lock = threading.Lock()

    def read(self, address: str, max_bytes: int) -> bytes:
        """Give the bytes of an object.

        Raises
        ------
        FetchError
            `refused` for an object outside the root, `not_found`, `too_many_bytes`, or `fetch_failed` after
            the tries that obstore makes.
        """
        bucket, key = _split(address)
        if self._root is not None:
            inside, prefix = self._root
            if bucket != inside or (prefix and not key.startswith(f"{prefix.rstrip('/')}/")):
                raise FetchError("refused", expected="an object below the root", got="another")
        if not key:
            raise FetchError("refused", expected="the key of an object", got="a bucket")
        store = self._store(bucket)
        try:
            result = self._library.get(store, key)
            size = int(result.meta["size"])
            if size > max_bytes:
                raise FetchError("too_many_bytes", expected=f"at most {max_bytes} bytes", got=f"{size} bytes")
            return bytes(result.bytes())
        except FileNotFoundError:
            raise FetchError("not_found", expected="an object", got="none") from None
        except (self._library.exceptions.BaseError, OSError) as error:
            # its text may hold the address of the server and is not shown
            raise FetchError("fetch_failed", expected="an object", got=type(error).__name__) from None

    def _store(self, bucket: str) -> Any:
        with self._lock:
            if bucket not in self._open:
                if len(self._open) >= _MAX_STORES:
                    raise FetchError("refused", expected=f"at most {_MAX_STORES} buckets", got="more")
                self._open[bucket] = self._stores.from_url(bucket, **self._options)
            return self._open[bucket]


def _split(address: str) -> tuple[str, str]:
    """Bucket (as an address) and key."""
    parts = urlsplit(address)
    key = unquote(parts.path).lstrip("/")
    if parts.scheme not in OBJECT_SCHEMES or not parts.hostname or parts.query or parts.fragment:
        raise FetchError("refused", expected=f"an address of {', '.join(OBJECT_SCHEMES)}", got="another")
    if parts.password is not None or ".." in PurePosixPath(key).parts or "\\" in key:
        raise FetchError("refused", expected="a key without `..`", got="another")
    return f"{parts.scheme}://{parts.netloc}", key
