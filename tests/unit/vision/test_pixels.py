"""Pixels equal Pillow's own, over a corpus of every format and mode."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from assets.vision.recipe import Recipe
from assets.vision.renderer import Renderer, quiet
from tests.unit.vision.corpus import corpus
from tests.unit.vision.reference import psnr, reference

RECIPES = {
    "crop": Recipe(size=(112, 112), shorter_side=128),
    "cover": Recipe(size=(48, 80)),
    "contain-lanczos": Recipe(size=(70, 70), fit="contain", filter="lanczos"),
    "stretch-bicubic": Recipe(size=(50, 90), fit="stretch", filter="bicubic"),
    "area": Recipe(size=(40, 30), filter="area"),
    "nearest": Recipe(size=(37, 53), fit="stretch", filter="nearest"),
    "nearest-crop": Recipe(size=(37, 53), filter="nearest"),
    "whole": Recipe(fit="none"),
    "gray": Recipe(size=(60, 60), mode="gray"),
    "rgba": Recipe(size=(60, 60), mode="rgba", fit="contain"),
    "deep": Recipe(size=(60, 60), mode="keep16", dtype="uint16"),
}


def test_the_corpus_is_large_enough() -> None:
    assert len(corpus()) >= 200


@pytest.mark.parametrize("name", RECIPES)
def test_pixels_are_pillows(name: str) -> None:
    recipe = RECIPES[name]
    worst, far, lowest = 0, [], float("inf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {sample.name: reference(sample.data, recipe) for sample in corpus()}
    with quiet(), Renderer() as renderer:
        for sample in corpus():
            made = renderer.render(sample.data, recipe).pixels
            wanted = expected[sample.name]
            assert made.shape == wanted.shape, sample.name
            levels = 257 if recipe.mode == "keep16" else 1
            difference = int(np.abs(made.astype(np.int64) - wanted).max())
            if levels == 1:
                lowest = min(lowest, psnr(made, wanted))
            if difference > 2 * levels or (levels == 1 and psnr(made, wanted) < 50):
                far.append((sample.name, difference))
            worst = max(worst, difference)
    print(f"{name}: {len(corpus())} files, largest difference {worst}, lowest PSNR {lowest:.1f} dB")
    assert not far
