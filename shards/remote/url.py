"""Addresses of object stores: `s3://bucket/prefix` and the like."""

from __future__ import annotations

import os
import re

from shards.errors import InvalidArgument

SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
_AS_PATH = re.compile(rf"({'|'.join(SCHEMES)}):/.*", re.ASCII)
_URL = re.compile(rf"({'|'.join(SCHEMES)})://[^/?#\s]+(/[^?#\s]*)?", re.ASCII)


def is_url(root: str | os.PathLike[str]) -> bool:
    """Whether a root is the address of an object store.

    Raises
    ------
    InvalidArgument
        It is an address of another kind, or one that was made a path, which takes a slash away.
    """
    if not isinstance(root, str):
        if _AS_PATH.fullmatch(os.fspath(root)):
            raise InvalidArgument(
                f"root {root!r}: a path is no address; allowed is text, 's3://BUCKET/PREFIX'"
            )
        return False
    if "://" not in root:
        return False
    if not _URL.fullmatch(root):
        raise InvalidArgument(
            f"root {root!r}: allowed are a directory, or {', '.join(f'{s}://BUCKET/PREFIX' for s in SCHEMES)}"
        )
    return True


def parent_and_name(url: str) -> tuple[str, str]:
    """Divide the address of a dataset into that of its store and the dataset's name."""
    is_url(url)
    parent, _, name = url.rstrip("/").rpartition("/")
    if not name or parent.endswith(":/"):
        raise InvalidArgument(f"{url!r}: names no dataset; allowed is SCHEME://BUCKET/PREFIX/DATASET")
    return parent, name
