"""Which versions a snapshot holds: one of every asset and partition, all made from the same documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assets.columns.build import DOCUMENTS, RECORDS
from assets.columns.errors import NotMaterialized
from assets.spec import DatasetSpec
from shards import ShardStore, Version

IMAGES = "images"


@dataclass(frozen=True, slots=True)
class Pinned:
    """Versions of one partition; `images` and `records` are None where the dataset has no such columns."""

    partition: str
    documents: Version
    images: Version | None
    records: Version | None

    def versions(self) -> list[Version]:
        """List the versions there are."""
        return [one for one in (self.documents, self.images, self.records) if one is not None]

    def validity(self) -> npt.NDArray[np.bool_]:
        """Tell which rows every asset can use."""
        valid = np.ones(self.documents.num_rows, np.bool_)
        for version in (self.images, self.records):
            if version is not None:
                valid &= version.validity()
        return valid


def pin_latest(spec: DatasetSpec, partitions: Sequence[str], store: ShardStore) -> list[Pinned]:
    """Take the latest version of every asset and partition, in order of partition key.

    Raises
    ------
    NotMaterialized
        A version is missing, or was made from other documents than the latest: the message lists what to
        materialize, for every partition at once.
    """
    wanted = {IMAGES: bool(spec.image_columns), RECORDS: bool(spec.record_columns)}
    pinned, problems = [], []
    for partition in sorted(set(partitions)):
        documents = store.latest(spec.name, DOCUMENTS, partition)
        if documents is None:
            problems.append(f"{spec.name}/documents[{partition}] has no version")
            continue
        found: dict[str, Version | None] = {IMAGES: None, RECORDS: None}
        for asset, is_wanted in wanted.items():
            version = store.latest(spec.name, asset, partition) if is_wanted else None
            found[asset] = version
            if is_wanted and version is None:
                problems.append(f"{spec.name}/{asset}[{partition}] has no version")
            elif version is not None and version.inputs.get(DOCUMENTS) != documents.number:
                problems.append(
                    f"{spec.name}/{asset}[{partition}] version {version.number} was made from documents "
                    f"version {version.inputs.get(DOCUMENTS)}, the latest is {documents.number}"
                )
        pinned.append(Pinned(partition, documents, found[IMAGES], found[RECORDS]))
    if problems:
        shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise NotMaterialized(f"{spec.name}/snapshot cannot be made: {shown}. Materialize these first")
    if not pinned:
        raise NotMaterialized(f"{spec.name}/snapshot cannot be made: no partition; materialize one first")
    return pinned
