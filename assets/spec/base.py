"""The base of every model of a dataset specification: closed, frozen, and strict about scalar types."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr, StringConstraints

Int = StrictInt
Bool = StrictBool
Str = StrictStr
Number = StrictInt | StrictFloat

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A dataset, column, split or subset: lower-case letters, digits and underscores, at most 64."""

Path = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=512)]
"""A dotted path into a document; a number selects from an array, `*` takes every element."""

Share = Annotated[float, "between 0 and 1"]


class Model(BaseModel):
    """A part of a specification; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
