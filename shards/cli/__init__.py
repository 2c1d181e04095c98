"""The commands of `python -m shards`."""
