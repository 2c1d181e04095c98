"""A process of its own that makes pictures slowly, to be killed in the middle.

python -m tests.integration.vision.child ROOT
"""

from __future__ import annotations

import sys
import time

from assets.vision import groups, pieces
from assets.vision.build import build_images
from shards import ShardStore
from tests.integration.vision.test_pieces import ROWS, make_spec


def main(root: str) -> None:
    """Make small groups and wait after each."""
    groups.ROWS = groups.ROWS_OF_VARYING = ROWS  # type: ignore[misc]
    pieces.LASTING_SECONDS = 0
    build_images(make_spec("pictures"), "all", store=ShardStore(root), progress=lambda *_: time.sleep(0.1))


if __name__ == "__main__":
    main(*sys.argv[1:])
