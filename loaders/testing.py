"""Checks that a loader resumes exactly: restore it at every step and compare what follows.

Works for anything that iterates over batches and has `state_dict` and `load_state_dict`: a `ShardLoader`, a
`StatefulDataLoader`, a loader of your own. Every failure is an AssertionError that names the step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch


class Resumable(Protocol):
    """What is checked."""

    def __iter__(self) -> Iterator[Any]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Any) -> None: ...


def equal(one: Any, other: Any) -> bool:
    """Whether two batches hold the same values, in tensors, arrays, dicts, lists or anything else."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.is_nested or other.is_nested:
            return one.is_nested and other.is_nested and equal(list(one.unbind()), list(other.unbind()))
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and bool(torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def check_resume(
    make: Callable[[], Resumable],
    *,
    other: Callable[[], Resumable] | None = None,
    num_steps: int | None = None,
    follow: int | None = None,
) -> int:
    """Restore a loader at every step of an epoch and compare the batches that follow.

    Parameters
    ----------
    make
        Gives a new loader each time, with the same options.
    other
        Gives the loader that is restored, where it has other options than the one that was saved (threads,
        prefetch); `make` by default.
    num_steps
        Steps that are checked, for loaders without an end; all by default.
    follow
        Batches compared after each restart; all that are left by default.

    Returns
    -------
    int
        How many restarts were checked.
    """
    saved = make()
    states, batches = [_through_json(saved.state_dict())], []
    for batch in saved:
        batches.append(batch)
        states.append(_through_json(saved.state_dict()))
        if len(batches) == num_steps:
            break
    del saved
    for step, state in enumerate(states[:-1]):
        restored = (other or make)()
        restored.load_state_dict(state)
        expected = batches[step:] if follow is None else batches[step : step + follow]
        for offset, (wanted, got) in enumerate(_pairs(expected, restored)):
            assert equal(wanted, got), (
                f"restored at step {step}, batch {step + offset} differs: "
                f"{_short(wanted)} became {_short(got)}"
            )
    return len(states) - 1


def check_world_sizes(
    make: Callable[[int, int], Iterable[Any]], world_sizes: Sequence[int], rows: Callable[[Any], list[Any]]
) -> list[Any]:
    """Compare the order of samples over all ranks between world sizes.

    Parameters
    ----------
    make
        Gives the loader of a rank of a world size.
    world_sizes
        Compared with each other; what the last, incomplete step holds may be repeated by some ranks.
    rows
        Names the samples of a batch, in order.

    Returns
    -------
    list
        The common order.
    """
    orders: dict[int, list[Any]] = {}
    for world_size in world_sizes:
        ranks = [list(make(rank, world_size)) for rank in range(world_size)]
        steps = {len(batches) for batches in ranks}
        assert len(steps) == 1, f"ranks of a world of {world_size} make {sorted(steps)} steps"
        order: list[Any] = []
        for step in range(steps.pop()):
            order += [row for batches in ranks for row in rows(batches[step])]
        orders[world_size] = order
    first = world_sizes[0]
    for world_size, order in orders.items():
        size = min(len(order), len(orders[first]))
        same = order[:size] == orders[first][:size]
        assert same, f"worlds of {first} and {world_size} processes have other orders"
    return orders[first]


def _pairs(expected: Sequence[Any], restored: Resumable) -> Iterator[tuple[Any, Any]]:
    found = iter(restored)
    for number, wanted in enumerate(expected):
        try:
            got = next(found)
        except StopIteration:
            raise AssertionError(f"restored, it ends after {number} of {len(expected)} batches") from None
        yield wanted, got


def _through_json(state: Any) -> Any:
    """Save and load a state as a checkpoint in JSON would; other states pass as they are."""
    try:
        return json.loads(json.dumps(state))
    except TypeError:
        return state


def _short(batch: Any) -> str:
    return repr(batch)[:200]
