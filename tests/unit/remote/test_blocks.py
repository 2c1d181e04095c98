"""How replies are written: whole huge pages at once, whatever the pieces in which they come."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import pytest

from shards.remote.transfer import _after, _blocks
from shards.storage import HUGE_PAGE_BYTES


@pytest.mark.parametrize("seed", range(20))
def test_pieces_become_huge_pages(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    content = draw.randbytes(draw.choice([0, 1, HUGE_PAGE_BYTES, 3 * HUGE_PAGE_BYTES + 5]))
    cuts = sorted({0, len(content), *(draw.randrange(len(content) + 1) for _ in range(draw.randrange(9)))})
    parts = [content[low:high] for low, high in itertools.pairwise(cuts)]
    found = [b"".join(block) for block in _blocks(parts)]
    assert b"".join(found) == content
    assert all(len(block) % HUGE_PAGE_BYTES == 0 for block in found[:-1])
    assert all(found)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_left_of_a_short_write(seed: int) -> None:
    draw = random.Random(seed)
    parts = [memoryview(draw.randbytes(draw.randrange(5))) for _ in range(draw.randrange(6))]
    whole = b"".join(parts)
    for count in range(len(whole) + 1):
        assert b"".join(_after(parts, count)) == whole[count:]


def test_a_pipe_takes_less_than_it_is_given() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    parts = [memoryview(os.urandom(100_000)), memoryview(os.urandom(100_000))]
    content, received = b"".join(parts), b""
    while parts:
        parts = _after(parts, os.writev(writer, parts))
        received += os.read(reader, 1 << 20)
    assert received == content
    os.close(reader)
    os.close(writer)
