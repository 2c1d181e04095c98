"""Which roots are object stores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shards import InvalidArgument, ShardStore
from shards.remote import is_url
from shards.remote.url import parent_and_name


@pytest.mark.parametrize(
    "url", ["s3://b", "s3://b/", "s3://b/a/b%3a", "gs://b/x", "az://c/x", "abfss://c@a.d/x"]
)
def test_addresses(url):
    assert is_url(url)


def test_directories_are_none(tmp_path):
    assert not is_url(str(tmp_path))
    assert not is_url(tmp_path)
    assert not is_url("relative/s3")


@pytest.mark.parametrize("url", ["s3:///x", "http://host/x", "s3://", "s3://b/x?y", "ftp://x", "s3://b/ x"])
def test_other_addresses_are_refused(url):
    with pytest.raises(InvalidArgument, match="s3://BUCKET/PREFIX"):
        ShardStore(url)


def test_an_address_that_was_made_a_path_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgument, match="text"):
        ShardStore(Path("s3://bucket/prefix"))
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_has_a_store():
    assert parent_and_name("s3://bucket/some/prefix/digits/") == ("s3://bucket/some/prefix", "digits")
    assert parent_and_name("s3://bucket/digits") == ("s3://bucket", "digits")
    with pytest.raises(InvalidArgument, match="names no dataset"):
        parent_and_name("s3://bucket")


def test_the_library_is_needed_only_when_a_store_is_used():
    code = """
import sys
sys.modules["obstore"] = None
from shards import ShardError, ShardStore
store = ShardStore("s3://bucket/prefix")
try:
    store.datasets()
except ShardError as error:
    assert "shardmill[objects]" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
