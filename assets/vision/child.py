"""The decoding child: `python -m assets.vision.child`, one picture after another until its input ends.

It decodes what may hang, crash or eat memory. It limits its own memory, and an alarm ends it when a picture
takes too long, also when its parent is gone; the parent kills it as well.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import warnings
from typing import Any, Final

from assets.vision import frames
from assets.vision.errors import PictureError
from assets.vision.header import inspect
from assets.vision.recipe import Recipe
from assets.vision.render import render

MEMORY_BYTES: Final = 6 << 30
"""Most address space that a child may have."""


def serve() -> None:
    """Answer requests on standard output until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    warnings.simplefilter("ignore")  # nobody reads what this process would print
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not break the frames
    _send(output, {"ready": True}, b"")
    while True:
        try:
            request, data = frames.unpack(_read)
        except EOFError:
            return
        recipe = Recipe.from_json(request["recipe"])
        signal.setitimer(signal.ITIMER_REAL, recipe.timeout_seconds)
        answer, body = _answer(data, recipe, request["orientation"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(output, answer, body)


def _answer(data: bytes, recipe: Recipe, orientation: int | None) -> tuple[dict[str, Any], bytes]:
    try:
        header = inspect(data, max_pixels=recipe.max_pixels, max_bytes=recipe.max_bytes)
        made = render(data, header, recipe, orientation)
    except PictureError as error:
        return {"reason": error.reason, "expected": error.expected, "got": error.got}, b""
    except MemoryError:
        return {"reason": "out_of_memory", "expected": f"at most {MEMORY_BYTES} bytes", "got": "more"}, b""
    members = {
        "shape": made.pixels.shape,
        "dtype": made.pixels.dtype.str,
        "width": made.width,
        "height": made.height,
        "orientation": made.orientation,
    }
    return members, made.pixels.tobytes()


def _read(num_bytes: int) -> bytes:
    data = sys.stdin.buffer.read(num_bytes)
    if len(data) < num_bytes:
        raise EOFError("the parent closed the pipe")
    return data


def _send(output: int, members: dict[str, Any], body: bytes) -> None:
    for part in (frames.pack(members, len(body)), body):
        view = memoryview(part)
        while view:
            view = view[os.write(output, view) :]


if __name__ == "__main__":
    serve()
