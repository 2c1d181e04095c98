"""A short run of every fuzzer of the format; `make fuzz` runs a million inputs each."""

from __future__ import annotations

import pytest

from fuzz.campaign import run
from fuzz.targets import TARGETS

NUM_INPUTS = {"manifest": 3000, "arrow_file": 1500, "npy_file": 500}


@pytest.mark.parametrize("name", TARGETS)
def test_fuzz(name: str) -> None:
    outcome = run(name, NUM_INPUTS.get(name, 4000), seed=1, quiet=True)
    print(f"{name}: {outcome.num_inputs} inputs, {outcome.num_corpus} kept, {outcome.num_edges} edges")
    assert not outcome.failures
