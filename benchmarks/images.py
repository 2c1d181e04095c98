"""Pictures a second: encoded bytes to pixels of the declared size.

The pictures are made here: noise with the spectrum of photographs, soft shapes and texture, about 500 x 375,
JPEG of quality 90; large ones are 4000 x 3000. Each is resized to a shorter side of 256 and cut to the centre
224, in one thread unless said. `limit` is decoding alone (libjpeg-turbo through simplejpeg).
"""

from __future__ import annotations

import importlib
import io
import itertools
import math
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import simplejpeg
from PIL import Image

from assets.spec import DatasetSpec
from assets.vision.build import build_images
from assets.vision.hashing import num_near_duplicates
from assets.vision.recipe import Recipe
from assets.vision.renderer import Renderer
from benchmarks.harness import Suite, requires
from shards import Provenance, ShardStore

SIDE, CROP = 256, 224
RECIPE = Recipe(size=(CROP, CROP), shorter_side=SIDE)
FAST = Recipe(size=(CROP, CROP), shorter_side=SIDE, fast=True)
SIZES = ((500, 375), (375, 500), (500, 375), (500, 333), (500, 375), (500, 500), (375, 500), (480, 360))
LARGE = (4000, 3000)

Pictures = Sequence[bytes]
Floats = npt.NDArray[np.float64]


def natural(width: int, height: int, seed: int) -> npt.NDArray[np.uint8]:
    """Make a picture whose spectrum is that of a photograph: noise of 1/f, shapes, texture; (H, W, 3)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0

    def noise(slope: float) -> Floats:
        spectrum = rng.standard_normal(frequency.shape) + 1j * rng.standard_normal(frequency.shape)
        field: Floats = np.fft.irfft2(spectrum / frequency**slope, (height, width))
        scaled: Floats = (field - field.mean()) / field.std()
        return scaled

    luma, blue, red = noise(1.25), noise(1.9), noise(1.9)
    y, x = np.mgrid[0:height, 0:width]
    for _ in range(int(rng.integers(4, 12))):
        center_x, center_y = rng.random(2) * (width, height)
        radius = (0.05 + 0.25 * rng.random()) * min(width, height)
        inside = (x - center_x) ** 2 / (0.5 + rng.random()) + (y - center_y) ** 2 < radius * radius
        luma = np.where(inside, luma * 0.6 + rng.normal() * 1.2, luma)
        blue = np.where(inside, blue * 0.5 + rng.normal(), blue)
    luma = luma + rng.standard_normal((height, width)) * 0.2 * (noise(1.6) > 0.2)
    luma, blue, red = 118 + 42 * luma, 18 * blue, 18 * red
    pixels = np.stack([luma + 1.402 * red, luma - 0.344 * blue - 0.714 * red, luma + 1.772 * blue], axis=-1)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def make(directory: Path, number: int, size: tuple[int, int]) -> None:
    """Write one JPEG unless it is there."""
    path = directory / f"{number:05}.jpg"
    if not path.exists():
        target = io.BytesIO()
        Image.fromarray(natural(*size, number)).save(target, "JPEG", quality=90)
        path.write_bytes(target.getvalue())


def pictures(directory: Path, count: int, sizes: Sequence[tuple[int, int]]) -> list[bytes]:
    """Read `count` pictures, made first where they are missing."""
    directory.mkdir(parents=True, exist_ok=True)
    tasks = [(directory, number, sizes[number % len(sizes)]) for number in range(count)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(make, tasks, chunksize=10)
    return [(directory / f"{number:05}.jpg").read_bytes() for number in range(count)]


def corner(width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size of the whole resized picture, and the corner of its centre crop."""
    size = (SIDE, SIDE * height // width) if width <= height else (SIDE * width // height, SIDE)
    return size, (round((size[0] - CROP) / 2), round((size[1] - CROP) / 2))


def pillow(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode, resize all of it, crop: what most people write."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    size, (x, y) = corner(*image.size)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((x, y, x + CROP, y + CROP)))


def pillow_box(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode, resize straight to the crop."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    size, (x, y) = corner(*image.size)
    across, down = image.width / size[0], image.height / size[1]
    box = x * across, y * down, (x + CROP) * across, (y + CROP) * down
    return np.asarray(image.resize((CROP, CROP), Image.Resampling.BILINEAR, box=box))


def pillow_draft(data: bytes) -> npt.NDArray[np.uint8]:
    """Let Pillow decode at a fraction of the size first; it shifts the picture by up to a pixel."""
    opened = Image.open(io.BytesIO(data))
    opened.draft("RGB", (2 * SIDE, 2 * SIDE))
    image = opened.convert("RGB")
    size, (x, y) = corner(*image.size)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR).crop((x, y, x + CROP, y + CROP)))


def opencv(data: bytes) -> Any:
    """Decode and resize by OpenCV, area filter; up to 25 levels away from Pillow."""
    cv2: Any = importlib.import_module("cv2")

    cv2.setNumThreads(1)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    size, (x, y) = corner(pixels.shape[1], pixels.shape[0])
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(resized[y : y + CROP, x : x + CROP])


_BUFFER = threading.local()


def decode(data: bytes) -> Any:
    """Decode alone, at its best: into memory that is used again (fresh memory costs threads a quarter)."""
    if not hasattr(_BUFFER, "pixels"):
        _BUFFER.pixels = np.empty(LARGE[0] * LARGE[1] * 3, np.uint8)
    return simplejpeg.decode_jpeg(data, "RGB", buffer=_BUFFER.pixels)


def every(work: Callable[[bytes], Any], data: Pictures, num_threads: int = 1) -> Callable[[], None]:
    """Do it for every picture, by one or more threads of this process."""

    def run() -> None:
        if num_threads == 1:
            for one in data:
                work(one)
            return
        with ThreadPoolExecutor(num_threads) as pool:
            parts = [data[first : first + 16] for first in range(0, len(data), 16)]
            list(pool.map(lambda part: [work(one) for one in part], parts))

    return run


def by_processor(work: Callable[[bytes], Any], data: Pictures) -> Callable[[], float]:
    """Do it for every picture in one thread; gives pictures a second of processor time.

    On an idle machine that is the wall time; on a busy one the wall time says more about the neighbours.
    """

    def run() -> float:
        began = time.thread_time()
        for one in data:
            work(one)
        return len(data) / (time.thread_time() - began)

    return run


def psnr(data: Pictures, ours: Callable[[bytes], Any]) -> float:
    """Peak signal-to-noise ratio against plain Pillow, over all pixels of all pictures, dB."""
    errors = [float(((ours(one).astype(np.float64) - pillow(one)) ** 2).mean()) for one in data]
    return 10 * math.log10(255**2 / (sum(errors) / len(errors)))


def document_store(directory: str, data: Pictures) -> tuple[DatasetSpec, ShardStore]:
    """Give a store whose `documents` hold the pictures."""
    column = {"kind": "image", "path": "image", "size": [CROP, CROP], "shorter_side": SIDE}
    source = {"database": "bench", "collection": "pictures"}
    spec = DatasetSpec.model_validate({"name": "bench", "source": source, "columns": {"image": column}})
    store = ShardStore(directory)
    ids = [b"\x12" + number.to_bytes(8, "little") for number in range(len(data))]
    table = pa.table({"_id": pa.array(ids, pa.large_binary()), "image": pa.array(data, pa.large_binary())})
    with store.begin("bench", "documents") as attempt:
        writer = attempt.table("documents", table.schema)
        for batch in table.to_batches(256):
            writer.append(batch)
        attempt.commit(provenance=Provenance(), inputs={}, statistics={}, metadata={})
    return spec, store


def near_hashes(count: int) -> npt.NDArray[np.uint64]:
    """Give perceptual hashes of which a third are others with two bits flipped."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    rows = rng.permutation(count)[: count // 3]
    bits = np.uint64(1) << rng.integers(0, 64, (2, len(rows)), dtype=np.uint64)
    hashes[rows] = hashes[rng.integers(0, count, len(rows))] ^ bits[0] ^ bits[1]
    return hashes


def main() -> int:
    """Run all legs."""
    suite = Suite.from_command_line("images", __doc__)
    small = pictures(suite.directory / "small", 160 if suite.quick else 3000, SIZES)
    large = pictures(suite.directory / "large", 4 if suite.quick else 16, [LARGE])
    block = np.empty((256, CROP, CROP, 3), np.uint8)  # rows that are filled again and again, as builds do
    rows = itertools.cycle(block)
    with Renderer() as renderer:

        def exact(data: bytes) -> Any:
            return renderer.render(data, RECIPE, out=next(rows)).pixels

        def fast(data: bytes) -> Any:
            return renderer.render(data, FAST, out=next(rows)).pixels

        suite.leg(
            "500x375 to 224, one thread",
            unit="pictures/CPU s",
            ours=by_processor(exact, small),
            limit=by_processor(decode, small),
            peers={"Pillow": by_processor(pillow, small)},
            goals={"vs_best_peer": ">= 1.6", "vs_limit": ">= 0.65"},
        )
        suite.leg(
            "the same, against cleverer ways",
            unit="pictures/CPU s",
            ours=by_processor(exact, small),
            peers={
                "Pillow by box": by_processor(pillow_box, small),
                "OpenCV area (25 levels off)": requires("cv2", by_processor(opencv, small)),
            },
        )
        suite.leg(
            "two threads against one",
            unit="pictures/s",
            amount=len(small),
            ours=every(exact, small, 2),
            peers={"one thread": every(exact, small)},
            goals={"vs_best_peer": ">= 1.85"},
        )
        suite.leg(
            "4000x3000 to 224, fast: true",
            unit="pictures/CPU s",
            ours=by_processor(fast, large),
            peers={"Pillow": by_processor(pillow, large)},
            goals={"vs_best_peer": ">= 3"},
        )
        suite.leg(
            "4000x3000 to 224, exact",
            unit="pictures/CPU s",
            ours=by_processor(exact, large),
            limit=by_processor(decode, large),
            peers={"Pillow": by_processor(pillow, large)},
        )
        suite.leg(
            "4000x3000, PSNR of fast: true",
            unit="dB",
            ours=lambda: psnr(large, fast),
            peers={"Pillow draft": lambda: psnr(large, pillow_draft)},
            rounds=1,
            warm_up=False,
        )
        suite.leg(
            "500x375, PSNR of the default",
            unit="dB",
            ours=lambda: psnr(small[:100], exact),
            goals={"ours": ">= 50"},
            rounds=1,
            warm_up=False,
        )
    hashes = near_hashes(100_000 if suite.quick else 1_000_000)

    def count_near() -> None:
        num_near_duplicates(hashes)

    suite.leg(
        "near duplicates, counted exactly",
        unit="hashes/s",
        amount=len(hashes),
        ours=count_near,
        rounds=1 if suite.quick else 3,
        warm_up=False,
    )
    with tempfile.TemporaryDirectory(dir=suite.directory) as directory:
        spec, store = document_store(directory, small)
        build_images(spec, "all", store=store)
        fresh = (ShardStore(f"{directory}/{number}") for number in itertools.count())

        def first_build() -> None:
            target = next(fresh)
            copied, _ = document_store(target.root, small)
            build_images(copied, "all", store=target)

        def again() -> None:
            build_images(spec, "all", store=store)

        suite.leg(
            "whole build, nothing changed",
            unit="pictures/s",
            amount=len(small),
            ours=again,
            peers={"first build": first_build},
            rounds=2,
            warm_up=False,
        )
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
