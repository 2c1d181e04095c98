"""Blocks of output: whose they are, where they begin, how many wait."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loaders.pool import MAX_FREE_BYTES, Pool, block_size

UINT8 = np.dtype(np.uint8)


def address(tensor: torch.Tensor) -> int:
    """Where a tensor lies."""
    return tensor.data_ptr()


def test_a_block_is_used_again_once_nobody_holds_it() -> None:
    pool = Pool()
    first = pool.tensor((1 << 20,), UINT8)[0]
    kept = first[5:9]
    place = address(first)
    del first
    assert address(pool.tensor((1 << 20,), UINT8)[0]) != place  # a view of it is still held
    kept[:] = 7
    assert pool.tensor((1 << 20,), UINT8)[0] is not None
    assert kept.tolist() == [7, 7, 7, 7]
    del kept
    assert place in {address(tensor) for tensor in [pool.tensor((1 << 20,), UINT8)[0] for _ in range(2)]}


@pytest.mark.parametrize("num_bytes", [1 << 15, 100_000, 5 << 20])
def test_blocks_begin_at_pages(num_bytes: int) -> None:
    tensor, array = Pool().zeros((num_bytes,), UINT8)
    assert address(tensor) % 4096 == 0
    assert tensor.shape == (num_bytes,)
    assert not array.any()
    array[:] = 1
    assert int(tensor.sum()) == num_bytes


def test_zeros_are_zeros_in_a_used_block() -> None:
    pool = Pool()
    pool.tensor((1 << 20,), UINT8)[1].fill(9)
    assert not pool.zeros((1 << 20,), UINT8)[1].any()


def test_few_bytes_wait() -> None:
    pool = Pool()
    held = [pool.tensor((9 << 20,), UINT8)[0] for _ in range(20)]
    del held
    assert sum(size * len(blocks) for size, blocks in pool._free.items()) <= MAX_FREE_BYTES
    held = [pool.tensor((MAX_FREE_BYTES,), UINT8)[0] for _ in range(4)]  # large blocks: two of them wait
    del held
    assert {size: len(blocks) for size, blocks in pool._free.items()} == {MAX_FREE_BYTES: 2}


def test_blocks_are_little_larger_than_asked_for() -> None:
    sizes = np.unique(np.geomspace(1 << 15, 1 << 32, 5000).astype(np.int64)).tolist()
    rounded = [block_size(size) for size in sizes]
    assert rounded == sorted(rounded)
    for size, block in zip(sizes, rounded, strict=True):
        assert size <= block <= max(size * 9 / 8, size + (1 << 16))
        assert block % 4096 == 0
    assert len(set(rounded)) < 200
