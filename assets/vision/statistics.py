"""What a version of images says about its pictures: exact sums, distributions, blanks, duplicates."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from assets.vision.hashing import num_near_duplicates
from assets.vision.moments import Moments
from assets.vision.tasks import Outcome

BLANK_STD: Final = 1.0
"""A picture whose brightest channel varies by less than this many levels counts as blank."""

SIDE_EDGES: Final = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)
ASPECT_EDGES: Final = (0.0, 0.25, 0.5, 0.667, 0.75, 0.9, 1.1, 1.334, 1.5, 2.0, 4.0, 65536.0)
BRIGHTNESS_EDGES: Final = tuple(range(0, 257, 16))


class ImageStatistics:
    """Gathers figures of one image column, row by row; used by one thread."""

    def __init__(self, levels: float) -> None:
        self._levels = levels
        self._train = Moments()
        self._num_train = 0
        self._num_blank = 0
        self._num_present = 0
        self._brightness: list[float] = []
        self._sizes: list[tuple[int, int]] = []
        self._hashes: list[int] = []
        self._digests: list[bytes] = []

    def add(self, outcome: Outcome, *, is_train: bool) -> None:
        """Add the picture of one row that has one."""
        moments = outcome.moments
        assert moments is not None
        self._num_present += 1
        if is_train:
            self._train.add(moments)
            self._num_train += 1
        is_blank = max(moments.std()) < BLANK_STD * self._levels / 255
        self._num_blank += is_blank
        self._brightness.append(moments.brightness() * 255 / self._levels)
        if outcome.frame is not None:
            width, height, orientation = outcome.frame
            self._sizes.append((height, width) if orientation >= 5 else (width, height))
        if outcome.perceptual is not None and not is_blank:
            self._hashes.append(outcome.perceptual)
        self._digests.append(outcome.digests[outcome.plan.name])

    def to_json(self) -> dict[str, Any]:
        """What the manifest keeps; counts of histograms add up over partitions."""
        sizes = np.array(self._sizes, np.float64).reshape(-1, 2)
        found: dict[str, Any] = {
            "num_present": self._num_present,
            "num_blank": self._num_blank,
            "num_duplicates": self._num_present - len(set(self._digests)),
            "train": {"num_pictures": self._num_train, **self._train.to_json()},
            "brightness": _histogram(np.array(self._brightness), BRIGHTNESS_EDGES),
            "width": _histogram(sizes[:, 0], SIDE_EDGES),
            "height": _histogram(sizes[:, 1], SIDE_EDGES),
            "aspect": _histogram(sizes[:, 0] / sizes[:, 1], ASPECT_EDGES),
        }
        if self._hashes:
            found["num_near_duplicates"] = num_near_duplicates(np.array(self._hashes, np.uint64))
        return found


def _histogram(values: npt.NDArray[np.float64], edges: tuple[float, ...]) -> dict[str, Any]:
    counts, _ = np.histogram(values, bins=np.array(edges, np.float64))
    return {"edges": list(edges), "counts": counts.tolist()}
