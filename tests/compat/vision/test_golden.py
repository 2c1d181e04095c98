"""Pixels of stored pictures stay what they were: golden hashes for each revision of the pixels."""

from __future__ import annotations

import json
from pathlib import Path

import xxhash

from assets.vision.recipe import PIXELS_REVISION, Recipe
from assets.vision.renderer import Renderer

HERE = Path(__file__).parent
RECIPES = {
    "crop": Recipe(size=(48, 48), shorter_side=56),
    "contain lanczos chw": Recipe(size=(40, 64), fit="contain", filter="lanczos", layout="chw"),
    "gray": Recipe(size=(32, 32), mode="gray"),
    "rgba whole": Recipe(fit="none", mode="rgba"),
    "deep": Recipe(size=(32, 32), mode="keep16", dtype="uint16", filter="bicubic"),
}


def hashes() -> dict[str, dict[str, str]]:
    """Hash the pixels of every stored picture by every recipe."""
    with Renderer() as renderer:
        return {
            path.name: {
                name: xxhash.xxh3_128_hexdigest(renderer.render(path.read_bytes(), recipe).pixels)
                for name, recipe in RECIPES.items()
            }
            for path in sorted((HERE / "pictures").iterdir())
        }


def test_pixels_are_those_of_this_revision() -> None:
    assert PIXELS_REVISION == 1, "keep the old hashes, add those of the new revision"
    golden = json.loads((HERE / "golden.json").read_text())
    found = hashes()
    assert found.keys() == golden.keys()
    different = [
        (picture, recipe)
        for picture, recipes in golden.items()
        for recipe, value in recipes.items()
        if found[picture][recipe] != value
    ]
    assert not different
