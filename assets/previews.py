"""Metadata of a materialization: counts and rates that plot themselves, tables, and small pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.columns.raw import extended_json
from assets.figures import MAX_PICTURE_BYTES, Bars, histogram_sheets
from assets.quality.summaries import summaries
from assets.report import Report
from assets.vision.sheets import sheet_of, sheet_of_rejects
from shards import Version

_SAMPLE_ROWS, _REJECT_ROWS, _TOP_CATEGORIES, _CELL_CHARACTERS = 5, 20, 10, 80


def metadata_of(report: Report, version: Version) -> dict[str, Any]:
    """Return everything worth showing of one partition of one asset, what people ask for first at the top."""
    rejected = sum(report.rejects.values())
    shown: dict[str, Any] = {
        "dagster/row_count": report.rows,
        "rejects": rejected,
        "reject_share": rejected / max(report.rows, rejected, 1),
        "size_bytes": report.size_bytes,
        "seconds": round(report.seconds, 3),
        "rows_per_second": round(report.rows / max(report.seconds, 1e-9)),
        "mb_per_second": round(report.size_bytes / 1e6 / max(report.seconds, 1e-9), 2),
        "version": report.version,
        "unchanged": not report.created,
        "content_hash": report.content_hash,
    }
    if version.provenance.cluster_time:
        shown["cluster_time"] = version.provenance.cluster_time
        seconds = int(version.provenance.cluster_time.partition(".")[0])
        shown["as_of"] = dg.MetadataValue.timestamp(float(seconds))
    if report.rejects:
        shown["rejects_by_reason"] = _table(
            [{"reason": reason, "count": count} for reason, count in report.rejects.items()]
        )
    labels = report.metadata.get("labels", {})
    shown |= {**_splits(report), **_tables(version), **_pictures(version, labels)}
    more = {name: _plain(value) for name, value in report.metadata.items() if _is_plain(value)}
    return {**shown, **{name: value for name, value in more.items() if name not in (*shown, "labels")}}


def _splits(report: Report) -> dict[str, Any]:
    """Return the rows of each split as a table."""
    splits = report.metadata.get("splits")
    if not splits:
        return {}
    total = max(sum(splits.values()), 1)
    return {
        "splits": _table(
            [{"split": name, "rows": rows, "share": round(rows / total, 4)} for name, rows in splits.items()]
        )
    }


def picture(png: bytes, name: str) -> dg.MarkdownMetadataValue:
    """Return a picture as Dagster shows it."""
    if len(png) > MAX_PICTURE_BYTES:
        raise ValueError(
            f"picture {name!r} has {len(png):,} bytes, at most {MAX_PICTURE_BYTES:,} are allowed"
        )
    kind = "png" if png.startswith(b"\x89PNG") else "jpeg"
    return dg.MetadataValue.md(f"![{name}](data:image/{kind};base64,{base64.b64encode(png).decode()})")


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, Mapping, list)) and value not in ({}, [])


def _plain(value: Any) -> Any:
    return dg.MetadataValue.json(value) if isinstance(value, (Mapping, list)) else value


def _table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…"


def _rows(table: pa.Table, limit: int) -> list[dict[str, Any]]:
    rows = table.slice(0, limit).to_pylist()
    return [{name: _cell(_readable(name, value)) for name, value in row.items()} for row in rows]


def _readable(name: str, value: Any) -> Any:
    return extended_json(value) if name == "_id" and isinstance(value, bytes) else value


def _tables(version: Version) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if "rejects" in version.tables and (rejects := _head(version, "rejects", _REJECT_ROWS)):
        shown["rejected"] = _table(rejects)
    if "documents" in version.tables and (documents := _head(version, "documents", _SAMPLE_ROWS)):
        shown["sample"] = _table(documents)
    if version.asset == "records" and (records := _first_records(version)):
        shown["sample"] = _table(records)
    return shown


def _first_records(version: Version) -> list[dict[str, Any]]:
    """Return the first rows of the declared columns, without the companions of each."""
    names = [name for name in version.columns if "__" not in name]
    parts = [version.column(name).read(0, _SAMPLE_ROWS) for name in names]
    values = [part.to_pylist() if isinstance(part, pa.Array) else part.tolist() for part in parts]
    return [
        {name: _cell(value) for name, value in zip(names, row, strict=True)}
        for row in zip(*values, strict=True)
    ]


def _head(version: Version, table: str, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for batch in version.table(table).batches():
        rows += _rows(pa.Table.from_batches([batch]), limit - len(rows))
        if len(rows) >= limit:
            break
    return rows


def _pictures(version: Version, labels: Mapping[int, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    found = summaries(version.statistics)
    bars = {
        name: Bars(histogram.counts.tolist(), histogram.edges[0], histogram.edges[-1])
        for name, summary in found.items()
        if summary.values is not None and (histogram := summary.values.histogram) and len(histogram.counts)
    }
    for number, sheet in enumerate(histogram_sheets(bars | _bars_of_pictures(version)), 1):
        name = "histograms" if number == 1 else f"histograms_{number}"
        shown[name] = picture(sheet, name)
    top = [
        {"column": name, "value": str(value), "count": count, "share": round(count / summary.counts.total, 4)}
        for name, summary in found.items()
        if summary.counts is not None and summary.counts.total
        for value, count in summary.counts.top(_TOP_CATEGORIES)
    ]
    if top:
        shown["top_categories"] = _table(top)
    if version.asset == "images":
        shown |= _sheets(version, labels)
    return shown


def _bars_of_pictures(version: Version) -> dict[str, Bars]:
    """Return sizes, aspects and brightness of pictures, from the first bin with one to the last."""
    shown: dict[str, Bars] = {}
    statistics: Mapping[str, Any] = version.statistics if version.asset == "images" else {}
    for name, kept in statistics.items():
        for figure in ("width", "height", "aspect", "brightness"):
            counts, edges = kept[figure]["counts"], kept[figure]["edges"]
            filled = [at for at, count in enumerate(counts) if count]
            if filled:
                first, end = filled[0], filled[-1] + 1
                shown[f"{name} {figure}"] = Bars(counts[first:end], edges[first], edges[end])
    return shown


def _sheets(version: Version, labels: Mapping[int, str]) -> dict[str, Any]:
    names = [name for name, column in version.columns.items() if column.kind in ("image", "mask_image")]
    sheets = {f"contact_sheet_{name}": sheet_of(version, name, labels) for name in names}
    sheets["rejected_pictures"] = sheet_of_rejects(version)
    return {name: picture(sheet, name) for name, sheet in sheets.items() if sheet is not None}
