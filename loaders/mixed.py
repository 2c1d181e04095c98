"""Several datasets mixed with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from loaders.columns import DenseColumn
from loaders.dataset import ShardDataset
from loaders.device import Layout, stage
from loaders.errors import InvalidOption
from loaders.feed import DatasetFeed
from loaders.loader import ShardLoader, device_of
from loaders.mixture import SOURCE, BatchFeed, Mixture, SampleFeed
from loaders.options import Pace, choose_order, default_threads, integer
from loaders.order import draws
from loaders.permutation import key_of
from loaders.pictures import channels_first
from loaders.pool import Pool
from shards import Column


class MixedDataset:
    """Datasets as one stream, each with its share.

    Parameters
    ----------
    datasets
        By name, or a list.
    weights
        One positive number a dataset, any scale; by default the sizes of the datasets.
    mix
        "sample": every batch has samples of all datasets; they must have the same columns, kinds, shapes and
        dtypes after the fits, pictures the same layout, categories the same codes, and only columns of one
        shape a row. "batch": every batch comes from one dataset; columns may differ.

    Raises
    ------
    InvalidOption
        Datasets, weights or columns are not as said above; a dataset has a transform, or a column `source`.

    Notes
    -----
    A batch says where it comes from: `source` is the number of the dataset of each sample, or of the batch.
    Every dataset is gone through in shuffled epochs of its own, so that small ones are repeated and none has
    a sample twice before it has had all. With "batch", what does not fill a batch is left out of an epoch of
    that dataset.

    Examples
    --------
    >>> mixed = MixedDataset({"photos": photos, "drawings": drawings}, weights=[0.8, 0.2])
    >>> loader = mixed.loader(256, seed=0)
    """

    def __init__(
        self,
        datasets: Mapping[str, ShardDataset] | Sequence[ShardDataset],
        weights: Sequence[float] | None = None,
        *,
        mix: Literal["sample", "batch"] = "sample",
    ) -> None:
        if not isinstance(datasets, Mapping):
            datasets = {str(number): dataset for number, dataset in enumerate(datasets)}
        self.datasets = dict(datasets)
        if not self.datasets or any(len(dataset) == 0 for dataset in self.datasets.values()):
            sizes = {name: len(dataset) for name, dataset in self.datasets.items()}
            raise InvalidOption(
                f"datasets of {sizes or 'no'} samples; allowed: one or more, none of them empty"
            )
        if mix not in ("sample", "batch"):
            raise InvalidOption(f"mix={mix!r}; allowed: sample, batch")
        self.mix = mix
        self.weights = [float(len(dataset)) for dataset in self.datasets.values()]
        if weights is not None:
            self.weights = [float(weight) for weight in weights]
        if len(self.weights) != len(self.datasets):
            raise InvalidOption(f"{len(self.weights)} weights for {len(self.datasets)} datasets")
        Mixture(self.weights, 0)  # refuses what is no weight
        if any(dataset.transform is not None for dataset in self.datasets.values()):
            raise InvalidOption("datasets with a transform of their own cannot be mixed; give none")
        named = [name for name, dataset in self.datasets.items() if SOURCE in dataset.schema]
        if named:
            raise InvalidOption(
                f"datasets {', '.join(named)} have a column {SOURCE!r}, by which a batch says where it comes "
                "from; next: leave it out by columns="
            )
        if mix == "sample":
            self._check_columns()

    def _check_columns(self) -> None:
        found = {}
        for name, dataset in self.datasets.items():
            others = [
                key for key, column in dataset.opened.columns.items() if not isinstance(column, DenseColumn)
            ]
            if others:
                raise InvalidOption(
                    f"dataset {name!r} has columns without one shape a row: {', '.join(others)}; choose "
                    "other columns, or mix='batch'"
                )
            rows = dataset.batch([])
            found[name] = [_described(column, rows[key]) for key, column in dataset.schema.items()]
        first, *rest = found
        for name in rest:
            if found[name] != found[first]:
                raise InvalidOption(
                    f"datasets {first!r} and {name!r} have other columns: {', '.join(found[first])}; and "
                    f"{', '.join(found[name])}; choose the same columns, or mix='batch'"
                )
            self._check_vocabularies(first, name)

    def _check_vocabularies(self, first: str, second: str) -> None:
        """Refuse categories whose codes say something else; one of the two may know fewer values."""
        one, other = (self.datasets[name].opened.snapshot for name in (first, second))
        for column in self.datasets[first].schema:
            if column in one.vocabularies and column in other.vocabularies:
                values, others = one.vocabulary(column), other.vocabulary(column)
                size = min(len(values), len(others))
                if not values[:size].equals(others[:size]):
                    raise InvalidOption(
                        f"datasets {first!r} and {second!r} have other values for the codes of {column}; "
                        "choose other columns, or mix='batch'"
                    )

    def __len__(self) -> int:
        """Samples of an epoch: of all datasets together."""
        return sum(len(dataset) for dataset in self.datasets.values())

    def __repr__(self) -> str:
        """Name the datasets with their shares."""
        total = sum(self.weights)
        shares = ", ".join(
            f"{name} {weight / total:.1%} of {len(dataset):,}"
            for (name, dataset), weight in zip(self.datasets.items(), self.weights, strict=True)
        )
        return f"MixedDataset({shares}; by {self.mix})"

    def loader(
        self,
        batch_size: int,
        *,
        shuffle: bool | Literal["full", "block"] = True,
        seed: int = 0,
        num_samples: int | None = None,
        drop_last: bool = False,
        num_threads: int | None = None,
        prefetch: int = 2,
        device: str | torch.device | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        infinite: bool = False,
        layout: Literal["stored", "chw"] = "stored",
        dtypes: Mapping[str, torch.dtype] | None = None,
    ) -> ShardLoader:
        """Make a loader; options as for `ShardLoader`, `num_samples` being the length of an epoch."""
        threads = default_threads() if num_threads is None else num_threads
        pace = Pace(batch_size, drop_last, threads, prefetch, rank, world_size, infinite)
        seed = integer("seed", seed)
        if num_samples is not None:
            num_samples = integer("num_samples", num_samples)
        target = device_of(device)
        pool = Pool(pinned=target.type == "cuda")
        feeds = []
        for number, dataset in enumerate(self.datasets.values()):
            order = choose_order(dataset, shuffle, key_of(seed, number))
            feeds.append(
                DatasetFeed(dataset.opened, order, dataset.forms, pool, read_only=False, fits=dataset.fits)
            )
        num_positions = draws(num_samples, len(self))
        about = {
            "datasets": [feed.describe() for feed in feeds],
            "weights": self.weights,
            "seed": seed,
            "mix": self.mix,
            "num_positions": num_positions,
        }
        mixture = Mixture(self.weights, seed)
        feed: SampleFeed
        if self.mix == "sample":
            feed = SampleFeed(feeds, mixture, num_positions, about)
        else:
            small = sorted(feed.num_positions for feed in feeds if feed.num_positions < pace.batch_size)
            if small:
                raise InvalidOption(
                    f"batch_size={pace.batch_size}; allowed: up to {small[0]}, the fewest samples"
                )
            if num_positions < pace.batch_size:
                raise InvalidOption(
                    f"num_samples={num_positions}; allowed: {pace.batch_size}, a batch, or more"
                )
            about["batch_size"] = pace.batch_size
            feed = BatchFeed(feeds, mixture, num_positions, about, pace.batch_size)
        made = stage(feed, Layout(layout, None, dtypes), None, target)
        return ShardLoader.over(feed, made, pace)


def _described(column: Column, rows: torch.Tensor) -> str:
    """Say what rows that are mixed have in common, as they are once their fits were applied."""
    layout = ", channels first" if channels_first(column) else ""
    return f"{column.name} ({column.kind} {rows.dtype} {list(rows.shape[1:])}{layout})"
