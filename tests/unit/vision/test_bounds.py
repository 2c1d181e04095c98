"""What is under way at once is bounded: pixels that all threads decode, rows and bytes of a group."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from assets.spec import DatasetSpec
from assets.vision.budget import Budget
from assets.vision.groups import GROUP_BYTES, ROWS, ROWS_OF_VARYING, rows_of_group
from assets.vision.plan import plans_of
from assets.vision.recipe import Recipe
from assets.vision.renderer import Renderer
from tests.unit.vision.corpus import encode, photo


def test_no_more_pixels_are_in_flight_than_declared() -> None:
    small, large = encode(photo(160, 120), "JPEG"), encode(photo(400, 300), "JPEG")
    with Renderer(max_pixels_in_flight=50_000) as renderer, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: renderer.render(small, Recipe(size=(32, 32))), range(200)))
        assert 160 * 120 <= renderer.pixels.peak <= 50_000
        renderer.render(large, Recipe(size=(32, 32)))
        assert renderer.pixels.peak == 400 * 300, "more than the bound is decoded alone"


def test_what_is_larger_than_the_bound_waits_until_it_is_alone() -> None:
    budget, entered = Budget(10), threading.Event()

    def large() -> None:
        with budget.held(11):
            entered.set()

    with budget.held(1):
        thread = threading.Thread(target=large)
        thread.start()
        assert not entered.wait(0.05)
    thread.join()
    assert entered.is_set()
    assert budget.peak == 11


def test_groups_of_large_pictures_have_fewer_rows() -> None:
    def rows(**members: object) -> int:
        column = {"kind": "image", "path": "image", "size": [224, 224], **members}
        source = {"database": "a", "collection": "b"}
        spec = DatasetSpec.model_validate({"name": "one", "source": source, "columns": {"image": column}})
        return rows_of_group(plans_of(spec))

    assert rows() == ROWS
    assert rows(size=[2000, 2000]) == GROUP_BYTES // (2000 * 2000 * 3)
    assert rows(size=[8000, 8000], dtype="float32") == 1
    assert rows(size=None, fit="none") == rows(store="encoded") == ROWS_OF_VARYING
