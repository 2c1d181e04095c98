"""Summaries of columns that merge: batches into partitions, partitions into snapshots, no second pass."""
