"""How pictures of `store: auto` are stored follows from the file alone, which must be able to say it."""

from __future__ import annotations

from typing import Any

import pytest

from assets.spec.errors import SpecError
from assets.spec.load import read_spec
from assets.spec.storing import encoded_columns

PIXELS_KB = 147  # of 224 x 224 in colour


def problems(columns: dict[str, Any], **storage: Any) -> list[str]:
    attributes = {
        "source": {"database": "a", "collection": "b"},
        "columns": {
            name: {"kind": "image", "path": name, "size": [224, 224], "store": "auto", **members}
            for name, members in columns.items()
        },
        "storage": storage,
    }
    try:
        problems.spec = read_spec(attributes, name="pictures")  # type: ignore[attr-defined]
    except SpecError as error:
        return [problem.message for problem in error.problems]
    return []


def encoded(columns: dict[str, Any], **storage: Any) -> set[str]:
    assert problems(columns, **storage) == []
    return set(encoded_columns(problems.spec))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pictures_gb", "expected"),
    [(1.0, {"a", "b"}), (1.6, {"b"}), (2.2, {"b"}), (2.85, set())],
)
def test_columns_become_pixels_in_their_order_while_the_disk_takes_them(
    pictures_gb: float, expected: set[str]
) -> None:
    """10,000 rows: 0.76 GiB encoded, each column 0.64 more as pixels."""
    columns = {"a": {"encoded_kb": 80}, "b": {"encoded_kb": 0.01}}
    assert encoded(columns, pictures_gb=pictures_gb, expected_rows=10_000) == expected


def test_the_smaller_form_is_taken_where_pixels_are_smaller() -> None:
    assert encoded({"a": {"encoded_kb": 4_000}}, pictures_gb=1.41, expected_rows=10_000) == set()
    assert encoded({"a": {"encoded_kb": 80, "mode": "gray"}}, pictures_gb=0.5, expected_rows=10_000) == set()


def test_what_is_said_outright_is_no_matter_of_the_budget() -> None:
    columns = {"a": {"encoded_kb": 80}, "b": {"store": "encoded"}, "c": {"store": "pixels"}}
    assert encoded(columns, pictures_gb=100, expected_rows=10_000) == {"b"}


@pytest.mark.parametrize(
    ("column", "storage", "message"),
    [
        ({}, {"pictures_gb": 1, "expected_rows": 9}, "store auto needs size and encoded_kb"),
        ({"encoded_kb": 80}, {}, "auto needs storage.pictures_gb and storage.expected_rows"),
        ({"encoded_kb": 80}, {"pictures_gb": 1}, "auto needs storage.expected_rows"),
        ({"encoded_kb": 80, "fit": "none", "size": None}, {}, "store auto needs size and encoded_kb"),
        ({"encoded_kb": 80, "store": "pixels"}, {}, "encoded_kb goes with store: auto, got pixels"),
        ({"store": "pixels"}, {"pictures_gb": 1}, "is for image columns of store: auto; there is none"),
        ({"store": "pixels"}, {"expected_rows": 1}, "is for image columns of store: auto; there is none"),
        ({"encoded_kb": 80}, {"pictures_gb": 0.5, "expected_rows": 10_000}, "rows of a take 0.7629"),
        ({"encoded_kb": 80, "dtype": "float32"}, {}, "store auto goes with 8-bit modes"),
    ],
)
def test_what_it_cannot_be_chosen_from_is_refused(
    column: dict[str, Any], storage: dict[str, Any], message: str
) -> None:
    found = problems({"a": column}, **storage)
    assert any(message in one for one in found), found
