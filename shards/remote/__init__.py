"""Stores on S3, Google Cloud Storage and Azure Blob Storage; needs the extra `objects`."""

from shards.remote.storage import ObjectStorage
from shards.remote.url import is_url

__all__ = ["ObjectStorage", "is_url"]
