"""What a deployment can do, and the time at which it is read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from bson.timestamp import Timestamp
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure

SNAPSHOT_WIRE_VERSION = 13
"""MongoDB 5.0: snapshot reads outside transactions."""

UNSUPPORTED = {
    20,  # IllegalOperation
    72,  # InvalidOptions
    115,  # CommandNotSupported
    123,  # NotAReplicaSet
    148,  # ReadConcernMajorityNotEnabled
    166,  # CommandNotSupportedOnView
    263,  # OperationNotSupportedInTransaction
    51024,
}


SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE = 239, 246
SNAPSHOT_GONE = {SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE}
"""The second is said when the collection has got an index, or was made anew, since the time of the read."""

TRIES = 5
PAUSE_SECONDS = 0.2


class SnapshotGone(Exception):
    """The point in time is older than the history that the server keeps."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """At which point in time documents are read.

    Parameters
    ----------
    cluster_time
        All reads see the data as of this time; None where the server has no snapshots.
    name
        What metadata say: `snapshot`, `snapshot and replay`, `ordered read` or `dump`.
    """

    cluster_time: Timestamp | None
    name: str

    @property
    def read_concern(self) -> dict[str, Any] | None:
        """Read concern of a command."""
        if self.cluster_time is None:
            return None
        return {"level": "snapshot", "atClusterTime": self.cluster_time}


ORDERED = Guarantee(None, "ordered read")


def snapshot_time(client: MongoClient[Any]) -> Timestamp | None:
    """The present cluster time, None on servers without snapshot reads (standalone, or before 5.0)."""
    hello = client.admin.command("hello")
    clustered = "setName" in hello or hello.get("msg") == "isdbgrid"
    if not clustered or hello["maxWireVersion"] < SNAPSHOT_WIRE_VERSION:
        return None
    present = hello.get("operationTime")
    return present if isinstance(present, Timestamp) else None


def guarantee(
    client: MongoClient[Any], database: Database[Any], collection: str, wanted: Timestamp | None
) -> Guarantee:
    """Find out by trying at which time a collection can be read; `wanted` if the server still has it."""
    for number in range(TRIES):
        present = snapshot_time(client)
        if present is None:
            return ORDERED
        found = Guarantee(wanted or present, "snapshot")
        try:
            database.command(
                "find",
                collection,
                limit=1,
                projection={"_id": 1},
                readConcern=found.read_concern,
                comment="shardmill, plan",
            )
        except OperationFailure as error:
            if error.code in UNSUPPORTED:
                return ORDERED
            if error.code not in SNAPSHOT_GONE or (wanted is None and number == TRIES - 1):
                raise
            if wanted is None:
                time.sleep(PAUSE_SECONDS)
            wanted = None
        else:
            return found
    raise AssertionError("unreachable")


def count(
    database: Database[Any],
    collection: str,
    condition: dict[str, Any],
    at: Guarantee,
    *,
    session: ClientSession | None,
    comment: str,
    read_preference: Any,
    by_id: bool = False,
) -> int:
    """Documents that satisfy a condition at a point in time, as the server counts them.

    Parameters
    ----------
    by_id
        Whether the entries of the index of `_id` are counted: of all documents of a collection, half of the
        time. Views and time-series collections have none.

    Raises
    ------
    SnapshotGone
        When the server no longer has the data of the point in time.
    """
    command: dict[str, Any] = {
        "aggregate": collection,
        "pipeline": [{"$match": condition}, {"$count": "n"}],
        "cursor": {},
        "comment": comment,
    }
    if by_id:
        command["hint"] = {"_id": 1}
    if at.read_concern is not None:
        command["readConcern"] = at.read_concern
    try:
        reply = database.command(command, session=session, read_preference=read_preference)
    except OperationFailure as error:
        if error.code in SNAPSHOT_GONE:
            raise SnapshotGone from error
        raise
    batch = reply["cursor"]["firstBatch"]
    return int(batch[0]["n"]) if batch else 0
