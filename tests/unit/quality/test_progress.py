"""Progress in a log: a line at most every so often, with rate and remaining time."""

from __future__ import annotations

import re

from assets.progress import LogProgress


def test_a_line_has_rate_share_and_remaining_time() -> None:
    lines: list[str] = []
    progress = LogProgress(lines.append, "digits/documents 2025-01", every_seconds=0.0)
    progress(250, 1_000, "documents")
    assert re.fullmatch(
        r"digits/documents 2025-01: 250 documents, [\d,]+ documents/s, 25% of 1,000, \d+ s remaining",
        lines[0],
    )


def test_without_a_total() -> None:
    lines: list[str] = []
    LogProgress(lines.append, "label", every_seconds=0.0)(3, None, "rows")
    assert re.fullmatch(r"label: 3 rows, [\d,]+ rows/s", lines[0])


def test_short_work_leaves_no_line() -> None:
    lines: list[str] = []
    progress = LogProgress(lines.append, "label")
    for done in range(1_000):
        progress(done, 1_000, "rows")
    assert lines == []
