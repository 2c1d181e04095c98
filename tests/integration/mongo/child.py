"""A process of its own that reads the collection `things`, to be killed in the middle.

python -m tests.integration.mongo.child URI DATABASE ROOT PIECE_BYTES DOCUMENTS_PER_SECOND
"""

from __future__ import annotations

import sys
from typing import Any

from pymongo import MongoClient

from assets.mongo import server_build, splits
from assets.mongo.build import build_documents
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_spec


def main(uri: str, database: str, root: str, piece_bytes: str, rate: str) -> None:
    """Read slowly, in small pieces."""
    server_build.piece_bytes = lambda source: int(piece_bytes)
    splits.SAMPLED_SHARE = 1
    spec = make_spec(database, max_documents_per_second=int(rate))
    with MongoClient[Any](uri, tz_aware=True) as client:
        build_documents(spec, "all", FIELDS, client=client, store=ShardStore(root))


if __name__ == "__main__":
    main(*sys.argv[1:])
