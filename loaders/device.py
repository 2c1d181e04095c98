"""From gathered groups to batches where they are wanted: copies beside the step, fits, layout.

On a CUDA device each loader thread has a stream of its own. It copies from pinned memory, applies the fits
and records an event; the training stream waits for that event and for nothing else. Host memory is held until
its copy is done, and device memory is marked as used by the training stream before it is handed out.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from loaders.errors import InvalidOption, UnknownName
from loaders.feed import Dense, Feed, Group, num_bytes
from loaders.forms import Batch, finished, holds_numbers
from loaders.pictures import channels_first, is_picture
from shards import Column


@dataclass(frozen=True, slots=True)
class Layout:
    """What is done to tensors after the fits.

    Parameters
    ----------
    images
        `stored`, or `chw` to put channels first. Pictures that lie as (height, width, channels) are only
        viewed that way, which is torch's channels_last memory format. Those of (height, width) have no
        channels and stay as they are.
    memory_format
        Memory format of pictures with channels, contiguous or channels_last, of each one where they have many
        shapes; None leaves them as they lie.
    dtypes
        Dtypes by column that numbers, lists of them and pictures are cast to; nothing is scaled.

    Raises
    ------
    InvalidOption
        A value is none of these.
    """

    images: Literal["stored", "chw"] = "stored"
    memory_format: torch.memory_format | None = None
    dtypes: Mapping[str, torch.dtype] | None = None

    @property
    def copies(self) -> bool:
        """Whether tensors may be copied."""
        return self.memory_format is not None or bool(self.dtypes)

    def __post_init__(self) -> None:
        """Refuse what is not known."""
        if self.images not in ("stored", "chw"):
            raise InvalidOption(f"layout={self.images!r}; allowed: stored, chw")
        if self.memory_format not in (None, torch.contiguous_format, torch.channels_last):
            raise InvalidOption(
                f"memory_format={self.memory_format}; allowed: torch.contiguous_format, torch.channels_last"
            )
        for name, dtype in (self.dtypes or {}).items():
            if not isinstance(dtype, torch.dtype):
                raise InvalidOption(f"dtypes[{name!r}]={dtype!r}; allowed: a dtype of torch")

    def check(self, schemas: Sequence[Mapping[str, Column]]) -> None:
        """Refuse dtypes of what cannot be cast in one of several datasets, or is in none of them.

        Raises
        ------
        UnknownName
            No dataset has a column of this name.
        InvalidOption
            Its values are texts, bytes or records.
        """
        for name in self.dtypes or {}:
            found = [schema[name] for schema in schemas if name in schema]
            if not found:
                names = {other for schema in schemas for other in schema}
                raise UnknownName("column", name, "dtypes: what is loaded", names)
            for column in found:
                if not holds_numbers(column):
                    raise InvalidOption(
                        f"dtypes[{name!r}]: a column of {column.stored_as}; allowed: numbers, lists of them, "
                        "pictures"
                    )

    def apply(self, batch: Batch, schema: Mapping[str, Column]) -> Batch:
        """Cast and turn the columns of a batch; what needs nothing is passed on."""
        if self.images == "stored" and not self.copies:
            return batch
        return {
            name: self._applied(schema[name], value) if name in schema else value
            for name, value in batch.items()
        }

    def _applied(self, column: Column, value: Any) -> Any:
        dtype = (self.dtypes or {}).get(column.name)
        if dtype is None and not is_picture(column):
            return value
        if isinstance(value, list):  # pictures of many shapes
            return [self._turned(column, one[None], dtype)[0] for one in value]
        if isinstance(value, torch.Tensor):
            return self._turned(column, value, dtype)
        raise InvalidOption(
            f"dtypes[{column.name!r}]: a batch has nulls in this column; next: leave it out of dtypes"
        )

    def _turned(self, column: Column, tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
        if is_picture(column) and tensor.dim() == 4:
            if self.images == "chw" and not channels_first(column):
                tensor = tensor.permute(0, 3, 1, 2)
            if self.memory_format is not None:
                tensor = tensor.contiguous(memory_format=self.memory_format)
        return tensor if dtype is None else tensor.to(dtype)


@dataclass(slots=True)
class Ready:
    """Batches of a group; `event` and `hold` only where copies to a device are under way."""

    batches: list[Batch]
    num_samples: int
    num_bytes: int
    is_finished: bool
    """Whether batches are handed out as they are, without `HostStage.finish`."""
    event: Any = None
    hold: Any = None

    @classmethod
    def joined(cls, parts: Sequence[Ready]) -> Ready:
        """Put what was made in turn, by one thread, behind one another."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            [batch for part in parts for batch in part.batches],
            sum(part.num_samples for part in parts),
            sum(part.num_bytes for part in parts),
            parts[0].is_finished,
            parts[-1].event,  # one stream: the last copy is done when all are
            [part.hold for part in parts],
        )


class HostStage:
    """Makes batches in host memory."""

    pinned = False

    def __init__(self, feed: Feed, layout: Layout, transform: Callable[[Batch], Batch] | None) -> None:
        self.feed, self.layout, self.transform = feed, layout, transform

    def make(self, group: Group) -> Ready:
        """Apply fits and layout; in a loader thread."""
        made = self._batches(group, group.dense)
        return Ready(self._laid_out(group, made), *_size(group, made), self._is_finished(group))

    def _is_finished(self, group: Group) -> bool:
        return not group.cells and self.transform is None

    def _batches(self, group: Group, dense: Dense) -> list[Batch]:
        return self.feed.batches(replace(group, dense=self.feed.fits(dense)))

    def _laid_out(self, group: Group, batches: list[Batch]) -> list[Batch]:
        schema = self.feed.schemas[group.source]
        return [self.layout.apply(batch, schema) for batch in batches]

    def take(self, ready: Ready) -> list[Batch]:
        """Give the training loop what was made; in its thread."""
        return ready.batches

    def finish(self, batch: Batch) -> Batch:
        """Make Python objects and apply the transform, as a batch is handed out; in the loop's thread."""
        batch = finished(batch)
        return batch if self.transform is None else self.transform(batch)


class CudaStage(HostStage):
    """Makes batches on a CUDA device."""

    pinned = True

    def __init__(
        self,
        feed: Feed,
        layout: Layout,
        transform: Callable[[Batch], Batch] | None,
        device: torch.device,
    ) -> None:
        super().__init__(feed, layout, transform)
        self.device = device
        self._threads = threading.local()
        self._copying: deque[tuple[Any, Any]] = deque()

    def _stream(self) -> torch.cuda.Stream:
        if not hasattr(self._threads, "stream"):
            self._threads.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream: torch.cuda.Stream = self._threads.stream
        return stream

    def make(self, group: Group) -> Ready:
        """Begin the copies and apply fits and layout, all on this thread's stream."""
        stream = self._stream()
        with torch.cuda.device(self.device), torch.cuda.stream(stream):
            dense = {name: self._copy(tensor) for name, tensor in group.dense.items()}
            made = self._batches(group, dense)
            batches = self._laid_out(group, [self._copy(batch) for batch in made])
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(stream)
        return Ready(batches, *_size(group, made), self._is_finished(group), event, (group.dense, made))

    def take(self, ready: Ready) -> list[Batch]:
        """Make the training stream wait for the copies, not the host."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(ready.event)
        for batch in ready.batches:
            _record(batch, current)
        self._copying.append((ready.event, ready.hold))
        while self._copying and self._copying[0][0].query():
            self._copying.popleft()
        return ready.batches

    def _copy(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value if value.device == self.device else value.to(self.device, non_blocking=True)
        if isinstance(value, dict):
            return {name: self._copy(member) for name, member in value.items()}
        if isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
            return [self._copy(member) for member in value]
        return value


def _size(group: Group, batches: list[Batch]) -> tuple[int, int]:
    """Give samples and bytes of a group; strings and dicts count no bytes."""
    others = 0
    if group.cells:
        others = sum(num_bytes(batch[name]) for batch in batches for name in batch if name not in group.dense)
    dense = sum(tensor.numel() * tensor.element_size() for tensor in group.dense.values())
    return group.ends[-1], dense + others


def _record(value: Any, stream: Any) -> None:
    """Tell the allocator that a stream uses this memory, so that it is not given away too early."""
    if isinstance(value, torch.Tensor):
        if value.is_nested:
            value.values().record_stream(stream)
            value.offsets().record_stream(stream)  # type: ignore[attr-defined]
        else:
            value.record_stream(stream)
    elif isinstance(value, dict):
        for member in value.values():
            _record(member, stream)
    elif isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
        for member in value:
            _record(member, stream)


def stage(
    feed: Feed,
    layout: Layout,
    transform: Callable[[Batch], Batch] | None,
    device: torch.device,
) -> HostStage:
    """Choose how batches reach a device; refuses a layout that is none of the feed's."""
    layout.check(feed.schemas)
    if device.type == "cpu":
        return HostStage(feed, layout, transform)
    if device.type == "cuda":
        return CudaStage(feed, layout, transform, device)
    raise InvalidOption(f"device={str(device)!r}; allowed: cpu, cuda, cuda:<number>")
