"""Perceptual hashes and the count of near duplicates."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assets.vision.hashing import NEAR_BITS, difference_hash, num_near_duplicates
from assets.vision.recipe import Recipe
from tests.unit.vision.corpus import photo

RECIPE = Recipe(size=(90, 120))


def _hash(image: Image.Image) -> int:
    return difference_hash(np.asarray(image), RECIPE)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_the_count_is_that_of_comparing_all_with_all(data: st.DataObject) -> None:
    """Any hashes, and copies of them with a few bits flipped: near, exactly on the bound, and beyond it."""
    hashes = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
    for _ in range(data.draw(st.integers(0, 30))):
        source = hashes[data.draw(st.integers(0, len(hashes) - 1))]
        flipped = data.draw(st.sets(st.integers(0, 63), max_size=NEAR_BITS + 2))
        hashes.insert(data.draw(st.integers(0, len(hashes))), source ^ sum(1 << bit for bit in flipped))
    expected = sum(
        any((one ^ before).bit_count() <= NEAR_BITS for before in hashes[:row])
        for row, one in enumerate(hashes)
    )
    assert num_near_duplicates(np.array(hashes, np.uint64)) == expected


def test_many_hashes_of_one_band_are_counted() -> None:
    """What defeats an index of one band: all hashes share most of their bits."""
    hashes = np.random.default_rng(0).integers(0, 2**20, 600, dtype=np.uint64) << np.uint64(30)
    expected = sum(
        any(int(one ^ before).bit_count() <= NEAR_BITS for before in hashes[:row])
        for row, one in enumerate(hashes)
    )
    assert 0 < expected < 600
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
