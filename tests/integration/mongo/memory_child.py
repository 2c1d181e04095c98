"""A process of its own that reads the collection `things` and prints by how many MiB its memory grew at most.

python -m tests.integration.mongo.memory_child URI DATABASE ROOT BUDGET_MB
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from assets.mongo.build import build_documents
from assets.mongo.fields import Field
from shards import ShardStore
from tests.integration.mongo.conftest import make_spec

FIELDS = [Field("value", "value", "int64"), Field("data", "data", "binary")]


def main(uri: str, database: str, root: str, budget_mb: str) -> None:
    """Read a few documents, then all, and compare the peak of the second read with what there was before."""
    few = make_spec(database, collection="few", memory_budget_mb=64)
    everything = make_spec(database, memory_budget_mb=int(budget_mb))
    store = ShardStore(root)
    with MongoClient[Any](uri, tz_aware=True) as client:
        build_documents(few, "all", FIELDS, client=client, store=store)
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = status("VmRSS")
        report = build_documents(everything, "all", FIELDS, client=client, store=store, re_read=True)
    print(report.rows, (status("VmHWM") - before) / 1024)


def status(name: str) -> int:
    """A figure of this process, KiB."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
