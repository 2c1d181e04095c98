"""What must hold before a version is published: the checks of an asset that guard it.

Every build calls `admit` with what it has counted, right before it commits. A version beyond a limit is not
published, so that neither a snapshot nor a training job ever meets it; the version before stays the latest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assets.quality.columns import null_shares, value_ranges
from assets.quality.findings import Finding, at_most
from assets.quality.summaries import summaries
from assets.spec import DatasetSpec

NEXT = {
    "rows_match_server": "run it again, or raise checks.max_row_difference",
    "reject_share": "mend the documents, or raise checks.max_reject_share",
    "broken_share": "mend the pictures, or raise checks.max_broken_image_share",
    "null_share": "mend the documents, or raise checks.max_null_share",
    "value_ranges": "mend the documents, or widen checks.ranges",
    "split_leakage": "declare dedup or splits by group, or raise checks.max_split_leaks",
    "integrity": "materialize the partition again",
}
"""What to do when a guard has failed."""

_MAX_NAMED = 8


class Unfit(Exception):
    """A version is beyond a limit of its dataset's checks; nothing was published.

    Attributes
    ----------
    findings
        Everything that was measured, what failed first.
    """

    def __init__(self, dataset: str, asset: str, findings: Iterable[Finding]) -> None:
        self.findings = sorted(findings, key=lambda finding: finding.passed)
        failed = [finding for finding in self.findings if not finding.passed]
        said = "; ".join(f"{finding.check}, {finding}" for finding in failed[:_MAX_NAMED])
        more = f"; and {len(failed) - _MAX_NAMED} more" if len(failed) > _MAX_NAMED else ""
        following = "; ".join(dict.fromkeys(NEXT[finding.check] for finding in failed))
        super().__init__(f"{dataset}/{asset}: nothing was published: {said}{more}. Next: {following}")


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known of one partition's version before it is committed.

    Parameters
    ----------
    partition
        Partition key.
    rows
        Rows, invalid ones counted in.
    num_rejected
        Documents or rows that could not be used.
    reasons
        Why, counted.
    server_count
        Documents that the server counts; None where it was not asked.
    statistics
        Statistics by column, as the manifest will hold them.
    """

    partition: str
    rows: int
    num_rejected: int
    reasons: Mapping[str, int]
    server_count: int | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)


def admit(spec: DatasetSpec, asset: str, draft: Draft) -> list[Finding]:
    """Measure what guards one partition of `documents`, `images` or `records`.

    Raises
    ------
    Unfit
        Something is beyond its limit.
    """
    measure = {"documents": _documents, "images": _images, "records": _records}[asset]
    return refuse(spec, asset, measure(spec, draft))


def refuse(spec: DatasetSpec, asset: str, findings: Iterable[Finding]) -> list[Finding]:
    """Give the findings back; Unfit when one of them failed."""
    measured = list(findings)
    if not all(finding.passed for finding in measured):
        raise Unfit(spec.name, asset, measured)
    return measured


def _documents(spec: DatasetSpec, draft: Draft) -> Iterator[Finding]:
    seen = draft.rows + draft.num_rejected
    if draft.server_count is not None:
        limit = float(spec.checks.max_row_difference)
        share = abs(draft.server_count - seen) / max(draft.server_count, seen, 1)
        allowed = f"{draft.server_count} ± {limit:.2%}"
        yield Finding("rows_match_server", draft.partition, "documents", seen, allowed, share <= limit)
    yield _share("reject_share", draft, "documents", seen, float(spec.checks.max_reject_share))


def _images(spec: DatasetSpec, draft: Draft) -> Iterator[Finding]:
    yield _share("broken_share", draft, "rows", draft.rows, float(spec.checks.max_broken_image_share))


def _records(spec: DatasetSpec, draft: Draft) -> Iterator[Finding]:
    yield _share("reject_share", draft, "rows", draft.rows, float(spec.checks.max_reject_share))
    found = summaries(draft.statistics)
    yield from null_shares(spec, draft.partition, found)
    yield from value_ranges(spec, draft.partition, found)


def _share(check: str, draft: Draft, subject: str, total: int, limit: float) -> Finding:
    counted = sorted(draft.reasons.items(), key=lambda pair: -pair[1])
    reasons = ", ".join(f"{reason} {count}" for reason, count in counted)
    detail = f"{draft.num_rejected} of {total}: {reasons}" if draft.num_rejected else ""
    return at_most(check, draft.partition, subject, draft.num_rejected / max(total, 1), limit, detail)
