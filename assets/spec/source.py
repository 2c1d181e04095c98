"""Where documents come from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from assets.spec.base import Bool, Int, Model, Name, Number, Path, Str, Variable


class Source(Model):
    """A MongoDB collection, several of one shape, or a dump of them."""

    uri_env: Variable = Field(
        "MONGODB_URI", description="Environment variable that holds the connection string."
    )
    alias: Name = Field("mongodb", description="Name of the server in provenance; never the URI.")
    database: Str | None = Field(None, description="Database name.")
    collection: Str | None = Field(None, description="Collection, view or time-series collection.")
    collections: list[Str] | None = Field(
        None, description="Several collections of one shape, read in this order."
    )
    dump: Str | None = Field(
        None, description="A mongodump directory, .bson, .bson.gz or archive, instead of a server."
    )
    filter: dict[str, Any] = Field(
        default_factory=dict,
        description="A MongoDB query that selects documents; of a dump, one of comparisons, $in, $exists, "
        "$type, $and, $or, $nor and $not.",
    )
    pipeline: list[dict[str, Any]] | None = Field(
        None, description="An aggregation pipeline, run in the server."
    )
    unwound_by: Path | None = Field(None, description="Path that tells rows of one unwound document apart.")
    gridfs: Str | None = Field(None, description="GridFS bucket that pictures are read from.")
    updated_field: Path | None = Field(
        None, description="Date of last change; lets a partition fetch only newer documents."
    )
    read_preference: Literal["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"] = (
        Field("primary", description="Which members of a replica set are read.")
    )
    cursors: Int = Field(
        2, ge=1, le=16, description="Ranges of one large partition that are read side by side."
    )
    max_documents_per_second: Number | None = Field(None, gt=0, description="Upper bound of the read rate.")
    memory_budget_mb: Int = Field(512, ge=64, description="Memory that one extraction may use, MiB.")
    allow_disk_use: Bool = Field(True, description="Whether the pipeline may spill to the server's disk.")

    @model_validator(mode="after")
    def _one_way_in(self) -> Source:
        given = [key for key in ("collection", "collections", "dump") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of collection, collections, dump; got {given or 'none of them'}"
            )
        if self.dump is None and self.database is None:
            raise ValueError("database is required when reading from a server")
        return self
