"""Samples of a map-style dataset that were gathered together, and how they become one batch again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from torch.utils.data import _utils


class Sample(dict[str, Any]):
    """One sample: a dict of tensors and values."""


class Samples(Sequence[Sample]):
    """The samples of one batch; each is made when it is looked at.

    torch's default collate stacks a list of samples one by one. Given this sequence, it takes the batch that
    was gathered as a whole; a collate function of a user's own sees a sequence of dicts.
    """

    def __init__(self, num_samples: int, one: Callable[[int], Sample], whole: Callable[[], Any]) -> None:
        self._num_samples, self._one, self._whole = num_samples, one, whole

    def __len__(self) -> int:
        """Samples."""
        return self._num_samples

    @overload
    def __getitem__(self, position: int) -> Sample: ...
    @overload
    def __getitem__(self, position: slice) -> list[Sample]: ...
    def __getitem__(self, position: int | slice) -> Sample | list[Sample]:
        """Make one sample or several."""
        if isinstance(position, slice):
            return [self._one(number) for number in range(self._num_samples)[position]]
        return self._one(range(self._num_samples)[position])

    def __iter__(self) -> Iterator[Sample]:
        """Make every sample."""
        return map(self._one, range(self._num_samples))

    def collated(self) -> dict[str, Any]:
        """Give the batch as a whole."""
        batch: dict[str, Any] = self._whole()
        return batch


def _collate(
    batch: Sequence[Sample], *, collate_fn_map: dict[Any, Callable[..., Any]] | None = None
) -> dict[str, Any]:
    if isinstance(batch, Samples):
        return batch.collated()
    return {
        name: _utils.collate.collate([sample[name] for sample in batch], collate_fn_map=collate_fn_map)
        for name in batch[0]
    }


_utils.collate.default_collate_fn_map[Sample] = _collate  # the extension point that torch documents
