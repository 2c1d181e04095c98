"""Which fields a dataset takes from its documents: those of its record columns and those of its images."""

from __future__ import annotations

from assets.columns.fields import fields_of_records
from assets.mongo.fields import Field
from assets.spec import DatasetSpec
from assets.vision.plan import fields_of_images


def fields_of(spec: DatasetSpec) -> list[Field]:
    """List the fields that the `documents` asset extracts, each name once.

    Raises
    ------
    ValueError
        Two columns want different fields under one name.
    """
    fields: dict[str, Field] = {}
    for field in (*fields_of_records(spec), *fields_of_images(spec)):
        known = fields.setdefault(field.name, field)
        if known != field:
            raise ValueError(f"field {field.name!r} is wanted twice, as {known} and as {field}")
    return list(fields.values())
