"""Errors of reading MongoDB: one tree, with `MongoError` at its root.

MongoError
├── FieldError          fields that contradict each other or a path that cannot be read
├── SourceError         the source as declared cannot be read: no such collection, wrong options, no rights
├── BrokenBatch         bytes that are no sequence of BSON documents
└── ReadFailed          a read that was retried as often as allowed, or whose point in time is gone
    ├── ChangesLost     what changed since a time cannot be known any more
    └── CountDiffers    other documents came than the server counts at the same time
"""

from __future__ import annotations


class MongoError(Exception):
    """Anything that goes wrong between a MongoDB source and its columns."""


class FieldError(MongoError, ValueError):
    """Fields contradict each other, or a path or type cannot be read."""


class SourceError(MongoError):
    """The source as declared cannot be read."""


class BrokenBatch(MongoError):
    """Bytes that should be BSON documents, one after the other, are not."""


class ReadFailed(MongoError):
    """A read could not be completed; nothing has been published."""


class ChangesLost(ReadFailed):
    """The server cannot tell any more what changed since a time."""


class CountDiffers(ReadFailed):
    """Other documents came than the server counts at the same time."""
