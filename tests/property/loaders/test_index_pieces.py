"""Where the rows of an index lie in the pieces of its file."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.files import Locator
from loaders.index_pieces import first_rows
from shards import npy


@settings(max_examples=200, deadline=None)
@given(
    num_rows=st.integers(1, 2000),
    dtype=st.sampled_from(["<u4", "<u8"]),
    piece_bytes=st.integers(2, 40).map(lambda number: 64 * number),
)
def test_every_row_is_found_in_its_piece(num_rows: int, dtype: str, piece_bytes: int) -> None:
    rows = np.arange(num_rows, dtype=dtype) * 3 + 1
    head = npy.header(dtype, num_rows, ())
    data = head + rows.tobytes()
    starts = first_rows(num_rows, rows.itemsize, len(head), piece_bytes)
    pieces = [data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes)]
    assert (len(starts), int(starts[0]), int(starts[-1])) == (len(pieces) + 1, 0, num_rows)
    numbers, local = Locator(starts).locate(np.arange(num_rows))
    found = [
        np.frombuffer(piece, dtype, offset=0 if number else len(head)) for number, piece in enumerate(pieces)
    ]
    assert [len(piece) for piece in found] == np.diff(starts).tolist()
    taken = [
        found[number][place] for number, place in zip(np.broadcast_to(numbers, num_rows), local, strict=True)
    ]
    assert np.array_equal(taken, rows)


def test_edges_of_pieces() -> None:
    assert first_rows(32, 4, 128, 128).tolist() == [0, 0, 32]
    assert first_rows(33, 4, 128, 128).tolist() == [0, 0, 32, 33]
    assert first_rows(96, 4, 128, 256).tolist() == [0, 32, 96]
    assert first_rows(97, 4, 128, 256).tolist() == [0, 32, 96, 97]
    assert first_rows(95, 8, 128, 256).tolist() == [0, 16, 48, 80, 95]
