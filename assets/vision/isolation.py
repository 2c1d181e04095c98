"""Decoding in child processes that can be killed: for formats whose decoders have no bound on their time."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
import time
from typing import Any, Final

import numpy as np

from assets.vision import frames
from assets.vision.errors import PictureError, VisionError
from assets.vision.recipe import Recipe
from assets.vision.render import Rendered

_START_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 1.0
"""The child's own alarm rings first; the parent kills it this much later."""
_PICTURES_PER_CHILD: Final = 2_000
_PIECE_BYTES: Final = 1 << 20


class Isolation:
    """Child processes, started when needed, one picture each at a time. Thread-safe; close it when done."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._closed = False

    def render(self, data: bytes, recipe: Recipe, orientation: int | None = None) -> Rendered:
        """Do what `assets.vision.render.render` does, in a child.

        Raises
        ------
        PictureError
            As `render`, and `timeout` or `crashed` when the child had to be killed or died.
        """
        child = self._borrow()
        try:
            made = child.render(data, recipe, orientation)
        except BaseException:
            if not child.usable:
                child.kill()
                raise
            self._return(child)
            raise
        self._return(child)
        return made

    def close(self) -> None:
        """End all children."""
        with self._lock:
            self._closed = True
            children, self._idle = self._idle, []
        for child in children:
            child.kill()

    def _borrow(self) -> _Child:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Child()

    def _return(self, child: _Child) -> None:
        with self._lock:
            if not self._closed and child.num_pictures < _PICTURES_PER_CHILD:
                self._idle.append(child)
                return
        child.kill()


class _Child:
    """One decoding process; used by one thread at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "assets.vision.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._input, False)
        os.set_blocking(self._output, False)
        self._deadline = time.monotonic() + _START_SECONDS
        self.num_pictures = 0
        self.usable = True
        try:
            self._receive()
        except PictureError as error:
            self.kill()
            raise VisionError(f"the decoding process did not start: {error}") from None

    def render(self, data: bytes, recipe: Recipe, orientation: int | None) -> Rendered:
        self.num_pictures += 1
        self.usable = False  # until the whole answer is here
        self._deadline = time.monotonic() + recipe.timeout_seconds + _GRACE_SECONDS
        self._seconds = recipe.timeout_seconds
        self._send(frames.pack({"recipe": recipe.to_json(), "orientation": orientation}, len(data)))
        self._send(data)
        answer, body = self._receive()
        self.usable = True
        if "reason" in answer:
            raise PictureError(answer["reason"], expected=answer["expected"], got=answer["got"])
        pixels: np.ndarray[Any, Any] = np.frombuffer(body, np.dtype(answer["dtype"]))
        return Rendered(
            pixels.reshape(answer["shape"]), answer["width"], answer["height"], answer["orientation"]
        )

    def kill(self) -> None:
        self._process.kill()
        with self._process:  # closes the pipes and waits
            pass

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._input, selectors.EVENT_WRITE)
            try:
                view = view[os.write(self._input, view[:_PIECE_BYTES]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._died() from None

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        return frames.unpack(self._read)

    def _read(self, num_bytes: int) -> bytes:
        parts = bytearray()
        while len(parts) < num_bytes:
            self._wait(self._output, selectors.EVENT_READ)
            part = os.read(self._output, min(num_bytes - len(parts), _PIECE_BYTES))
            if not part:
                raise self._died()
            parts += part
        return bytes(parts)

    def _wait(self, descriptor: int, event: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            if not selector.select(max(0.0, self._deadline - time.monotonic())):
                raise self._late()

    def _late(self) -> PictureError:
        seconds = getattr(self, "_seconds", _START_SECONDS)
        return PictureError("timeout", expected=f"decoded within {seconds:g} s", got="not done; stopped")

    def _died(self) -> PictureError:
        code = self._process.wait()
        if code == -14:  # SIGALRM: its own time limit
            return self._late()
        return PictureError("crashed", expected="a decoder that ends", got=f"exit code {code}")
