"""Encoder of `datetime` columns: integers since the epoch, or sine and cosine of cycles."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.columns.kinds.base import (
    AnyArray,
    BoolArray,
    Encoded,
    Encoder,
    IntArray,
    array_of,
    count_missing,
    presence,
    select,
)
from assets.columns.rejects import Fault
from assets.columns.stats.summary import NumberSummary, Summary
from assets.spec.columns import DatetimeColumn

DAY_MS = 86_400_000
PER_MS = {"ms": 1, "us": 1_000, "ns": 1_000_000}


class DatetimeEncoder(Encoder):
    """One date a row."""

    def __init__(self, name: str, spec: DatetimeColumn) -> None:
        super().__init__(name, spec)
        if spec.cyclic:
            first = self.column(
                "<f4",
                (2 * len(spec.cyclic),),
                parts=[f"{function}_{cycle}" for cycle in spec.cyclic for function in ("sin", "cos")],
                timezone=spec.timezone,
            )
        else:
            first = self.column("<i8", unit=spec.unit)
        self.columns = (first, *self.mask_columns())
        self.default = None if spec.default is None else milliseconds(spec.default)

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Convert the dates, zero where there is none."""
        array = array_of(batch, self.name).cast(pa.timestamp("ms", tz="UTC"))
        present = presence(array)
        moments = array.cast(pa.int64()).fill_null(self.default or 0).to_numpy(zero_copy_only=False)
        present = present if self.default is None else None
        stored, faults = self._cyclic(moments) if self.spec.cyclic else self._count(moments)
        if present is not None:
            stored[~present] = 0
        return Encoded(self.stored(stored, present), present=present, faults=faults, seen=moments)

    def _count(self, moments: IntArray) -> tuple[AnyArray, list[Fault]]:
        unit = self.spec.unit
        if unit == "s":
            seconds = moments // 1_000
            bad = seconds * 1_000 != moments
            return self._checked(
                seconds, bad, moments, "inexact", "a date of whole seconds; declare unit: ms"
            )
        factor = PER_MS[unit]
        limit = np.iinfo(np.int64).max // factor
        bad = (moments > limit) | (moments < -limit)
        values = np.where(bad, 0, moments) * factor
        return self._checked(values, bad, moments, "out of range", f"a date that 64 bits hold in {unit}")

    def _checked(
        self, values: IntArray, bad: BoolArray, moments: IntArray, reason: str, expected: str
    ) -> tuple[AnyArray, list[Fault]]:
        if not bad.any():
            return values.astype(np.int64), []
        rows = np.flatnonzero(bad)
        got = [f"{moments[row]} ms since the epoch" for row in rows.tolist()]
        return np.where(bad, 0, values), [Fault(self.name, self.path, rows, reason, expected, got)]

    def _cyclic(self, moments: IntArray) -> tuple[AnyArray, list[Fault]]:
        bad = np.abs(moments) > YEARS_MS
        faults = []
        if bad.any():
            rows = np.flatnonzero(bad)
            got = [f"{moments[row]} ms since the epoch" for row in rows.tolist()]
            expected = "a date of the years 1 to 9999"
            faults.append(Fault(self.name, self.path, rows, "out of range", expected, got))
            moments = np.where(bad, 0, moments)
        stamps = pa.array(moments, pa.timestamp("ms")).cast(pa.timestamp("ms", tz=self.spec.timezone))
        local = pc.local_timestamp(stamps).cast(pa.int64()).to_numpy(zero_copy_only=False)
        out = np.empty((len(moments), 2 * len(self.spec.cyclic)), np.float32)
        for index, cycle in enumerate(self.spec.cyclic):
            angle = 2.0 * np.pi * phase(cycle, local)
            out[:, 2 * index] = np.sin(angle)
            out[:, 2 * index + 1] = np.cos(angle)
        for fault in faults:
            out[fault.rows] = 0
        return out, faults

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Summarise the dates as milliseconds since the epoch."""
        picked = select(encoded.seen, rows, encoded.present)
        values = NumberSummary.of(picked, quantiles=True)
        return Summary(int(np.count_nonzero(rows)), count_missing(encoded.present, rows), values=values)


YEARS_MS = 62_135_596_800_000
"""Milliseconds from the year 1 to the epoch; as far on the other side is the year 3938."""


def milliseconds(text: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 date with an offset."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def phase(cycle: str, local: IntArray) -> AnyArray:
    """Place in a cycle, from 0 to 1, of local milliseconds since the epoch.

    `hour` is the time of day, `weekday` the day of the week with its time (Monday is 0), `day` the day of the
    month, `month` the month of the year, `year` the day of the year; the last three by their real lengths.
    """
    if cycle == "hour":
        day: AnyArray = (local % DAY_MS) / DAY_MS
        return day
    if cycle == "weekday":
        week: AnyArray = ((local // DAY_MS + 3) % 7 + (local % DAY_MS) / DAY_MS) / 7.0
        return week
    stamps = local.astype("datetime64[ms]")
    months, years = stamps.astype("datetime64[M]"), stamps.astype("datetime64[Y]")
    if cycle == "month":
        month: AnyArray = (months - years.astype("datetime64[M]")).astype(np.int64) / 12.0
        return month
    start = months if cycle == "day" else years
    begin = start.astype("datetime64[ms]").astype(np.int64)
    end = (start + 1).astype("datetime64[ms]").astype(np.int64)
    share: AnyArray = (local - begin) / (end - begin)
    return share
