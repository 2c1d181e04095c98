"""Perceptual hashes and the count of near duplicates."""

from __future__ import annotations

import numpy as np
from PIL import Image

from assets.vision.hashing import NEAR_BITS, difference_hash, num_near_duplicates
from assets.vision.recipe import Recipe
from tests.unit.vision.corpus import photo

RECIPE = Recipe(size=(90, 120))


def _hash(image: Image.Image) -> int:
    return difference_hash(np.asarray(image), RECIPE)


def test_the_count_is_that_of_comparing_all_with_all() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 300, dtype=np.uint64)
    for row in range(100, 300):
        flipped = rng.choice(64, int(rng.integers(0, 6)), replace=False)
        hashes[row] = hashes[int(rng.integers(100))] ^ sum(
            (np.uint64(1) << np.uint64(b) for b in flipped), np.uint64(0)
        )
    expected = sum(
        any(int(hashes[row] ^ hashes[before]).bit_count() <= NEAR_BITS for before in range(row))
        for row in range(300)
    )
    assert num_near_duplicates(hashes) == expected


def test_a_hash_survives_scaling_and_brightness_and_tells_pictures_apart() -> None:
    image = photo(240, 180, 1)
    small = image.resize((120, 90))
    brighter = image.point(lambda level: min(255, level + 8))
    for changed in (small, brighter):
        assert (_hash(image) ^ _hash(changed)).bit_count() <= 6
    assert (_hash(image) ^ _hash(photo(240, 180, 2))).bit_count() > 10


def test_layout_and_depth_do_not_matter() -> None:
    pixels = np.asarray(photo(60, 40))
    gray = np.asarray(photo(60, 40).convert("L"))[..., np.newaxis]
    first = Recipe(size=(40, 60), layout="chw")
    assert difference_hash(np.moveaxis(pixels, -1, 0), first) == difference_hash(pixels, RECIPE)
    deep = Recipe(size=(40, 60), mode="keep16", dtype="uint16")
    assert difference_hash(gray.astype(np.uint16) * 257, deep) == difference_hash(gray, Recipe(mode="gray"))
