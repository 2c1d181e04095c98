"""The base of every model of a dataset specification: closed, frozen, and strict about scalar types."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

Int = StrictInt
Bool = StrictBool
Str = StrictStr
Number = StrictInt | StrictFloat

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A dataset, column, split or subset: lower-case letters, digits and underscores, at most 64."""


def _check_path(path: str) -> str:
    if "" in path.split("."):
        raise ValueError(f"{path!r} has an empty part; allowed: names joined by single dots")
    return path


Path = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=512), AfterValidator(_check_path)
]
"""A dotted path into a document; a number selects from an array, `*` takes every element."""


def _check_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        # Not what was got: it may be a connection string.
        raise ValueError(
            "allowed: the name of an environment variable, such as MONGODB_URI; "
            "what the variable holds stays out of this file"
        )
    return name


Variable = Annotated[str, StringConstraints(strict=True), AfterValidator(_check_variable)]
"""The name of an environment variable."""


class Model(BaseModel):
    """A part of a specification; unknown keys are refused, naming the known ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [key for key in data if key not in cls.model_fields]
            if unknown:
                close = get_close_matches(str(unknown[0]), cls.model_fields, n=1)
                raise PydanticCustomError(
                    "unknown_key",
                    "unknown key {key}{hint}; allowed: {allowed}",
                    {
                        "key": unknown[0],
                        "hint": f" (is {close[0]} meant?)" if close else "",
                        "allowed": ", ".join(cls.model_fields),
                    },
                )
        return data
