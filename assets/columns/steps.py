"""Transforms as data: which steps need a fit, in which space it is made, and the fitted steps of a snapshot.

Steps with fixed parameters (log1p, clip) come before those that scale, so that the statistics a fit needs can
be gathered while records are built: in the space of the fixed steps before it. Scaling steps are affine, so a
second one is fitted from the same statistics. Missing values are left out of every fit.

Formulas, x a value of the space, over the train rows: standardize (x - mean) / std, std of the population;
min_max (x - min) / (max - min); robust (x - median) / (q75 - q25). A scale of zero becomes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from assets.columns.stats.summary import NumberSummary, Summary
from assets.spec.columns import Clip, Impute, NumberTransform

Floats: TypeAlias = npt.NDArray[np.float64]
RAW = ""


def is_fixed(step: NumberTransform) -> bool:
    """Whether a step needs no fit."""
    return step == "log1p" or isinstance(step, Clip)


def spaces_of(transform: Sequence[NumberTransform]) -> dict[str, list[NumberTransform]]:
    """Give the fixed steps at the head of each fitted step, by their text; the raw space is left out."""
    spaces: dict[str, list[NumberTransform]] = {}
    fixed: list[NumberTransform] = []
    for step in transform:
        if is_fixed(step):
            fixed.append(step)
        elif fixed and not (isinstance(step, Impute) and not isinstance(step.impute, str)):
            spaces[space_name(fixed)] = list(fixed)
    return spaces


def space_name(fixed: Sequence[NumberTransform]) -> str:
    """Text of fixed steps, the name of the space they lead to."""
    return " ".join(
        f"clip({step.clip[0]:g},{step.clip[1]:g})" if isinstance(step, Clip) else str(step) for step in fixed
    )


def needs_quantiles(transform: Sequence[NumberTransform]) -> bool:
    """Whether a step is fitted from quantiles."""
    return any(
        step == "robust" or (isinstance(step, Impute) and step.impute == "median") for step in transform
    )


def apply_fixed(steps: Sequence[NumberTransform], values: Floats) -> Floats:
    """Apply steps without a fit; log1p of -1 and less gives NaN or minus infinity, without a warning."""
    for step in steps:
        if isinstance(step, Clip):
            values = np.clip(values, step.clip[0], step.clip[1])
        else:
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.log1p(values)
    return values


def fit_steps(transform: Sequence[NumberTransform], train: Summary, scalar: bool) -> list[dict[str, Any]]:
    """Fit a transform.

    Parameters
    ----------
    transform
        The declared steps.
    train
        Summary of the train rows, with the spaces of `spaces_of`.
    scalar
        Whether the column holds one number a row; parameters are then numbers and not lists.

    Returns
    -------
    list
        One dict a step with `op` and its parameters, ready for a snapshot.
    """
    fitted: list[dict[str, Any]] = []
    fixed: list[NumberTransform] = []
    shift: Floats = np.zeros(1)
    scale: Floats = np.ones(1)

    def plain(value: Floats) -> Any:
        out = np.broadcast_to(value, np.broadcast_shapes(value.shape, shift.shape)).tolist()
        return out[0] if scalar else out

    for step in transform:
        if step == "log1p":
            fitted.append({"op": "log1p"})
            fixed.append(step)
        elif isinstance(step, Clip):
            fitted.append({"op": "clip", "low": float(step.clip[0]), "high": float(step.clip[1])})
            fixed.append(step)
        elif isinstance(step, Impute) and not isinstance(step.impute, str):
            fitted.append({"op": "impute", "value": float(step.impute)})
        else:
            space = train.spaces.get(space_name(fixed)) if fixed else train.values
            if space is None:
                raise ValueError(f"no statistics of space {space_name(fixed)!r}: build the records again")
            centre, width, op = _location(step, space)
            if op == "impute":
                fitted.append({"op": op, "value": plain((centre - shift) / scale)})
                continue
            names = {
                "standardize": ("mean", "std"),
                "min_max": ("low", "high"),
                "robust": ("center", "scale"),
            }[op]
            offset, factor = (centre - shift) / scale, width / scale
            second = offset + factor if op == "min_max" else factor
            fitted.append({"op": op, names[0]: plain(offset), names[1]: plain(second)})
            shift, scale = shift + offset * scale, scale * factor
    return fitted


def _location(step: NumberTransform, space: NumberSummary) -> tuple[Floats, Floats, str]:
    moments = space.moments
    present = moments.count > 0
    mean = np.where(present, moments.mean, 0.0)
    if step == "standardize":
        return mean, _positive(moments.std), "standardize"
    if step == "min_max":
        low = np.where(present, moments.minimum, 0.0)
        return low, _positive(np.where(present, moments.maximum, 0.0) - low), "min_max"
    if step == "impute" or (isinstance(step, Impute) and step.impute == "mean"):
        return mean, np.ones_like(mean), "impute"
    if space.sketches is None:
        raise ValueError("no quantiles in the statistics: build the records again")
    middle, low, high = (
        np.nan_to_num(np.array([float(sketch.quantile(share)) for sketch in space.sketches]))
        for share in (0.5, 0.25, 0.75)
    )
    if step == "robust":
        return middle, _positive(high - low), "robust"
    return middle, np.ones_like(middle), "impute"


def _positive(scale: Floats) -> Floats:
    return np.where(scale > 0, scale, 1.0)


def apply_fitted(fitted: Sequence[dict[str, Any]], values: Floats) -> Floats:
    """Apply fitted steps to numbers, NaN where one is missing; what the loader does, in float64."""
    for step in fitted:
        match step["op"]:
            case "log1p":
                values = np.log1p(values)
            case "clip":
                values = np.clip(values, step["low"], step["high"])
            case "impute":
                values = np.where(np.isnan(values), np.asarray(step["value"]), values)
            case "standardize":
                values = (values - np.asarray(step["mean"])) / np.asarray(step["std"])
            case "min_max":
                low = np.asarray(step["low"])
                values = (values - low) / (np.asarray(step["high"]) - low)
            case "robust":
                values = (values - np.asarray(step["center"])) / np.asarray(step["scale"])
            case other:
                raise ValueError(f"transform step {other!r} is not known")
    return values
