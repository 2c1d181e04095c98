"""A short run of the fuzzer of the walker; `make fuzz` is the long one."""

from __future__ import annotations

import pytest

from fuzz.documents import run


@pytest.mark.parametrize("seed", [101, 102])
def test_the_walker_agrees_with_bson_decode(seed: int) -> None:
    counts = run(6_000, seed)
    assert counts["documents"] == 6_000
    assert min(counts["invalid"], counts["rejected"], counts["rows"]) > 500
