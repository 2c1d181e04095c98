"""Samples of a map-style dataset: their numbers, and those gathered together that become one batch again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from torch.utils.data import _utils

from loaders.errors import InvalidOption
from loaders.files import Rows


def sample_number(given: Any, size: int) -> int:
    """Check the number of one sample of `size`; negative ones count from the end.

    Raises
    ------
    InvalidOption
        It is no integer.
    IndexError
        There is no such sample.
    """
    found = np.asarray(given)  # a bool, which is an index to Python, is none here
    if found.ndim or found.dtype.kind not in "iu":
        raise InvalidOption(
            f"sample {given!r:.60}, a {type(given).__name__}; allowed: an integer or a slice; "
            "next: batch() for several"
        )
    number = int(found)
    if not -size <= number < size:
        raise IndexError(f"sample {number} of {size}")
    return number % size


def sample_numbers(given: npt.ArrayLike, size: int) -> Rows:
    """Check the numbers of several samples of `size`.

    Parameters
    ----------
    given
        Integers in 0..size-1, in any order, repeats allowed; or a mask of `size` booleans.

    Returns
    -------
    numpy.ndarray
        int64, of shape (num_samples,).

    Raises
    ------
    InvalidOption
        They are neither.
    IndexError
        There is no such sample.
    """
    found = np.asarray(given)
    if found.dtype == np.bool_ and found.shape == (size,):
        return np.flatnonzero(found)
    kinds = "iu" if found.size else "iuf"  # an empty list has a dtype of floats
    if found.ndim != 1 or found.dtype.kind not in kinds:
        raise InvalidOption(
            f"samples of {found.dtype}, shape {found.shape}; allowed: one list of integers, "
            f"or a mask of shape ({size},)"
        )
    if found.size and (int(found.min()) < 0 or int(found.max()) >= size):
        raise IndexError(f"samples from {found.min()} to {found.max()}; allowed: 0 to {size - 1}")
    return found.astype(np.int64, copy=False)


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

    def __reduce__(self) -> tuple[type[list[Sample]], tuple[list[Sample]]]:
        """Pickle as a list of the samples: a worker's collate function may hand them on as they are."""
        return list, (list(self),)

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
