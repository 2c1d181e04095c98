"""Summaries of columns that merge: of batches into partitions, of partitions into snapshots, with no second pass."""
