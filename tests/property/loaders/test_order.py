"""Orders: complete, the same however they are asked for, and fair where they draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.errors import InvalidOption
from loaders.mixture import Mixture
from loaders.order import BalancedOrder, BlockShuffle, FullShuffle, SequentialOrder, WeightedOrder
from loaders.plan import Plan, Ramp


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 3000),
    seed=st.integers(-(2**70), 2**70),
    block=st.integers(1, 200),
    window=st.integers(1, 9),
    epoch=st.integers(0, 10**6),
)
def test_blocks_are_complete(size: int, seed: int, block: int, window: int, epoch: int) -> None:
    order = BlockShuffle(size, seed, block, window)
    whole = order.at(epoch, np.arange(size))
    assert np.array_equal(np.sort(whole), np.arange(size))
    some = np.arange(0, size, 7)
    assert np.array_equal(order.at(epoch, some), whole[some])


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 500),
    batch=st.integers(1, 64),
    world=st.integers(1, 7),
    start=st.integers(0, 500),
    drop=st.booleans(),
)
def test_plans_share_out_every_position(size: int, batch: int, world: int, start: int, drop: bool) -> None:
    start = min(start, size)
    plans = [Plan(size, batch, rank, world, drop, start) for rank in range(world)]
    assert len({plan.num_steps for plan in plans}) == 1
    found: list[int] = []
    for step in range(plans[0].num_steps):
        for plan in plans:
            positions, ends = plan.batches(step, step + 1)
            assert ends == [len(positions)]
            assert 1 <= len(positions) <= batch
            found += positions.tolist()
    if drop:
        assert found == list(range(start, start + plans[0].num_steps * batch * world))
    else:
        assert sorted(set(found)) == list(range(start, size))
        assert len(found) - (size - start) < world
    end = start + len(found) if drop else size
    assert plans[0].position_after(plans[0].num_steps) == end
    together, ends = plans[0].batches(0, plans[0].num_steps)
    apart = [plans[0].batches(step, step + 1)[0] for step in range(plans[0].num_steps)]
    assert together.tolist() == [int(p) for part in apart for p in part]
    assert ends == np.cumsum([len(part) for part in apart]).tolist()


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 20), num_units=st.integers(0, 30), world=st.integers(1, 9), begin=st.integers(0, 30)
)
def test_plans_of_units_mix_none(batch: int, num_units: int, world: int, begin: int) -> None:
    start, size = min(begin, num_units) * batch, num_units * batch
    plans = [Plan(size, batch, rank, world, False, start, unit=batch) for rank in range(world)]
    found: list[int] = []
    for step in range(plans[0].num_steps):
        for plan in plans:
            positions, _ = plan.batches(step, step + 1)
            assert len(set((positions // batch).tolist())) == 1
            found += positions.tolist()
    assert sorted(set(found)) == list(range(start, size))
    if batch >= world:
        assert found == list(range(start, size))


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(0, 300),
    batch=st.integers(1, 20),
    world=st.integers(1, 3),
    turns=st.integers(1, 6),
    drop=st.booleans(),
    start=st.integers(0, 300),
)
def test_turns_are_steps_of_the_rank(
    size: int, batch: int, world: int, turns: int, drop: bool, start: int
) -> None:
    start = min(start, size)
    whole = Plan(size, batch, world - 1, world, drop, start)
    steps = [whole.batches(step, step + 1)[0].tolist() for step in range(whole.num_steps)]
    for turn in range(turns):
        plan = Plan(size, batch, world - 1, world, drop, start, None, turn, turns)
        assert [plan.batches(step, step + 1)[0].tolist() for step in range(plan.num_steps)] == steps[
            turn::turns
        ]
        for step in range(plan.num_steps + 1):
            rest = Plan(size, batch, world - 1, world, drop, plan.position_after(step), None, turn, turns)
            assert rest.num_steps == plan.num_steps - step


@settings(max_examples=100, deadline=None)
@given(most=st.integers(1, 200), larger=st.integers(0, 200), num_steps=st.integers(0, 1000))
def test_runs_of_steps_grow_from_one_and_nest(most: int, larger: int, num_steps: int) -> None:
    ramp, wide = Ramp.at_least(most), Ramp.at_least(most + larger)
    assert most <= ramp.size < 2 * most
    starts = [ramp.start(number) for number in range(ramp.count(num_steps))]
    assert starts[:2] == [0, 1][:num_steps]
    held = [step for number in range(len(starts)) for step in range(starts[number], ramp.start(number + 1))]
    assert held[:num_steps] == list(range(num_steps))
    assert len(held) - num_steps < ramp.size
    assert [ramp.number(step) for step in held] == sorted(ramp.number(step) for step in held)
    assert all(ramp.start(ramp.number(start)) == start for start in starts)
    sizes = np.diff([*starts, ramp.start(len(starts))])
    assert all(size <= max(start, 1) and size <= ramp.size for size, start in zip(sizes, starts, strict=True))
    assert {wide.start(number) for number in range(wide.count(num_steps))} <= set(starts)


def test_epochs_and_seeds_differ() -> None:
    positions = np.arange(1000)
    orders = [FullShuffle(1000, seed).at(epoch, positions).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert FullShuffle(1000, 0).at(0, positions).tolist() == orders[0]
    assert SequentialOrder(5).at(3, np.arange(5)).tolist() == [0, 1, 2, 3, 4]


def test_block_shuffle_reads_in_runs() -> None:
    order = BlockShuffle(10_000, 0, 100, 4).at(0, np.arange(10_000))
    for start in range(0, 10_000, 400):
        window = np.sort(order[start : start + 400])
        assert (np.diff(window) != 1).sum() <= 5  # four blocks, one of them perhaps turned over the end
    assert (np.diff(order) == 1).mean() < 0.05


def test_weights() -> None:
    weights = np.array([0, 1, 2, 3, 0, 4.0])
    order = WeightedOrder(weights, 0, 100_000)
    counts = np.bincount(order.at(0, np.arange(100_000)), minlength=6)
    expected = weights / weights.sum() * 100_000
    assert counts[[0, 4]].tolist() == [0, 0]
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected.max())
    assert order.at(0, np.array([99_999])).tolist() == order.at(0, np.arange(100_000))[-1:].tolist()
    assert order.describe() != WeightedOrder(weights[::-1], 0, 100_000).describe()


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2], [np.nan], [np.inf], [[1, 2]]])
def test_wrong_weights(weights: list[float]) -> None:
    with pytest.raises(InvalidOption, match="weights"):
        WeightedOrder(weights, 0)


def test_balance() -> None:
    classes = np.array([5] * 900 + [-3] * 90 + [70] * 10)
    order = BalancedOrder(classes, 0).at(2, np.arange(999))
    assert np.array_equal(np.unique(classes[order], return_counts=True)[1], [333, 333, 333])
    for start in range(0, 999, 3):
        assert len(set(classes[order[start : start + 3]].tolist())) == 3
    with pytest.raises(InvalidOption, match="classes"):
        BalancedOrder(np.array([0.5]), 0)


@settings(max_examples=30, deadline=None)
@given(
    weights=st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=6),
    seed=st.integers(0, 99),
    begin=st.integers(0, 10**9),
)
def test_mixtures_count_without_gaps(weights: list[float], seed: int, begin: int) -> None:
    """Each dataset's own stream is handed out once, in any window; shares hold to a few units."""
    mixture = Mixture(weights, seed)
    units = np.arange(begin - begin % 128, begin - begin % 128 + 1280)
    sources, numbers = mixture.at(units)
    for source in range(len(weights)):
        mine = np.sort(numbers[sources == source])
        assert mine.size == 0 or mine.tolist() == list(range(int(mine[0]), int(mine[0]) + mine.size))
    shares = np.bincount(sources, minlength=len(weights)) / len(units)
    assert np.abs(shares - np.array(weights) / np.sum(weights)).max() < (len(weights) + 1) / 1000
    again, same = mixture.at(units[37:90])
    assert np.array_equal(again, sources[37:90])
    assert np.array_equal(same, numbers[37:90])
