"""Broken pictures are refused with a reason: no crash, no other exception, no warning, no growing memory."""

from __future__ import annotations

import collections
import dataclasses
import gc
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assets.vision.errors import PictureError
from assets.vision.recipe import Recipe
from assets.vision.renderer import Renderer
from tests.hostile.vision.broken import broken, jpeg_of
from tests.unit.vision.corpus import Sample, encode, photo

RECIPE = Recipe(size=(64, 64), timeout_seconds=20)


def _reason(renderer: Renderer, sample: Sample, recipe: Recipe = RECIPE) -> str:
    try:
        renderer.render(sample.data, recipe)
    except PictureError as error:
        return error.reason
    return "used"


def test_every_broken_file_is_refused_with_its_reason(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(broken()) >= 200
    with Renderer() as renderer, ThreadPoolExecutor(2) as pool:
        reasons = list(pool.map(lambda pair: _reason(renderer, pair[0]), broken()))
    wrong = [
        (sample.name, reason, sorted(allowed))
        for (sample, allowed), reason in zip(broken(), reasons, strict=True)
        if reason not in allowed
    ]
    captured = capfd.readouterr()
    print(f"{len(broken())} files: {dict(collections.Counter(reasons))}")
    assert not wrong
    assert captured.err == ""
    assert captured.out == ""


def test_bombs_are_refused_without_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Renderer() as renderer:
        for sample, allowed in broken():
            if allowed == {"too_many_pixels"}:
                assert _reason(renderer, sample) == "too_many_pixels"
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 50 << 10


def test_a_picture_above_the_byte_cap_is_refused() -> None:
    recipe = dataclasses.replace(RECIPE, max_bytes=1000)
    with Renderer() as renderer:
        assert _reason(renderer, Sample("large", encode(photo(), "PNG")), recipe) == "too_many_bytes"


def _endless_scans(num_scans: int) -> bytes:
    """Give a progressive JPEG of 64 MP with the same refinement scan again and again: minutes of decoding."""
    side = 8000
    base = encode(photo(16, 16).convert("L").resize((side, side)), "JPEG", progressive=True, quality=10)
    start = base.rindex(b"\xff\xda")
    last = base[start:-2]
    return base[:-2] + last * num_scans + b"\xff\xd9"


def test_a_hanging_decoder_is_killed_and_the_next_picture_is_made() -> None:
    recipe = dataclasses.replace(RECIPE, timeout_seconds=1.0, max_pixels=100_000_000)
    endless = _endless_scans(2000)
    with Renderer() as renderer:
        assert _reason(renderer, Sample("endless", endless), recipe) == "timeout"
        assert renderer.render(encode(photo(), "WEBP"), RECIPE).pixels.shape == (64, 64, 3)


def test_frames_beyond_the_first_are_never_decoded() -> None:
    image = photo(64, 64)
    many = encode(image, "GIF", save_all=True, append_images=[image.rotate(n) for n in range(1, 200)])
    with Renderer() as renderer:
        first = renderer.render(many, Recipe(fit="none")).pixels
        alone = renderer.render(encode(image, "GIF"), Recipe(fit="none")).pixels
    assert first.shape == alone.shape


def test_trailing_data_is_not_read() -> None:
    """A picture that is also an archive is that picture; nothing behind its end is looked at."""
    data = encode(photo(), "JPEG")
    with Renderer() as renderer:
        alone = renderer.render(data, RECIPE).pixels
        both = renderer.render(data + b"PK\x03\x04" + os.urandom(500), RECIPE).pixels
    assert (alone == both).all()


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_no_leak_over_bad_files() -> None:
    """The short form of `make leak`: of 100,000 bad files, what decodes in this process, 6,000 times."""
    files = [s.data for s, _ in broken() if s.data[:3] == b"\xff\xd8\xff" or s.data[:4] == b"\x89PNG"]
    files = [data for data in files if len(data) < 100_000]
    files.append(jpeg_of(64, 64))
    with Renderer() as renderer:

        def loop(count: int) -> None:
            for number in range(count):
                _reason(renderer, Sample("", files[number % len(files)]))

        loop(2000)
        gc.collect()
        before = _resident_bytes()
        loop(int(os.environ.get("SHARDMILL_BAD_FILES", "6000")))
        gc.collect()
        grown = _resident_bytes() - before
    print(f"resident memory grew by {grown / 1e6:.2f} MB")
    assert grown < 8 << 20
