"""Rules that several kinds of columns share; each raises ValueError with what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_missing(column: Any, allowed: tuple[str, ...]) -> None:
    """Refuse a way of handling absent values that the kind does not have, or a default without use."""
    if column.missing not in allowed:
        raise ValueError(
            f"missing: {column.missing} does not fit kind {column.kind}; allowed: {', '.join(allowed)}"
        )
    default = getattr(column, "default", None)
    if (column.missing == "default") != (default is not None):
        raise ValueError("missing: default and default: VALUE go together; got only one of them")


def check_single(path: str, kind: str) -> None:
    """Refuse a path of many values where one is wanted."""
    if "*" in path.split("."):
        raise ValueError(f"path {path!r} selects many values, kind {kind} takes one; use kind list or vector")


def check_bounds(column: Any, dtype: str) -> None:
    """Refuse bounds and defaults that contradict each other or that the dtype cannot hold."""
    low, high = column.minimum, column.maximum
    if low is not None and high is not None and low > high:
        raise ValueError(f"minimum {low} is above maximum {high}")
    if dtype.startswith(("int", "uint")):
        info = np.iinfo(dtype)
        for name in ("minimum", "maximum"):
            bound = getattr(column, name)
            if bound is not None and not info.min <= bound <= info.max:
                raise ValueError(f"{name} {bound} is outside {dtype}, which holds {info.min} to {info.max}")
    default = getattr(column, "default", None)
    if default is not None:
        if dtype.startswith(("int", "uint")):
            info = np.iinfo(dtype)
            if isinstance(default, float) or not info.min <= default <= info.max:
                raise ValueError(
                    f"default {default} is no {dtype}; whole numbers from {info.min} to {info.max} are"
                )
        elif abs(default) > float(np.finfo(dtype).max):
            raise ValueError(f"default {default} overflows {dtype}")
        if (low is not None and default < low) or (high is not None and default > high):
            raise ValueError(f"default {default} is outside minimum {low} and maximum {high}")


def check_transform(column: Any) -> None:
    """Refuse steps in an order that has no meaning."""
    scaled = False
    for step in column.transform:
        if step in ("standardize", "min_max", "robust"):
            scaled = True
        elif scaled:
            name = step if isinstance(step, str) else next(iter(type(step).model_fields))
            raise ValueError(f"{name} must come before standardize, min_max and robust")
    if sum(step == "log1p" for step in column.transform) > 1:
        raise ValueError("log1p may be given once")
    if column.bake and not column.transform:
        raise ValueError("bake: true needs a transform to bake")
