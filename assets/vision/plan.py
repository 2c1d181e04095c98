"""What the images of one dataset become: recipes, stored columns and the fields that documents must give."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from assets.mongo.fields import Field, ListOf
from assets.spec import DatasetSpec
from assets.spec.images import BoxesColumn, ImageColumn, MaskImageColumn, PointsColumn
from assets.spec.storing import encoded_columns
from assets.vision.recipe import Recipe
from assets.vision.sources.locate import field_type
from shards import Column

ENCODED: Final = "encoded-2"
"""Raised when companions of encoded pictures would change; since 2 their sums are of pixels at `size`."""

VARYING: Final = "struct<data: large_binary, shape: fixed_size_list<int32>[3]>"
_DTYPES: Final = {"uint8": "|u1", "uint16": "<u2", "float32": "<f4"}
_GEOMETRY: Final = {"boxes": 4, "points": 2}


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """A mask image of a picture."""

    name: str
    column: MaskImageColumn
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """One image column and everything that moves with it."""

    name: str
    column: ImageColumn
    recipe: Recipe
    is_encoded: bool
    masks: tuple[MaskPlan, ...]
    shapes: tuple[tuple[str, BoxesColumn | PointsColumn], ...]

    @property
    def fingerprint(self) -> str:
        """Changes when what is stored would: the recipe, and whether encoded bytes are kept."""
        return f"{self.recipe.fingerprint}-{ENCODED if self.is_encoded else 'pixels'}"

    @property
    def stored_recipe(self) -> Recipe:
        """What is rendered: the recipe, or for encoded pictures the whole picture in one byte a channel."""
        if not self.is_encoded:
            return self.recipe
        return dataclasses.replace(
            self.recipe, size=None, fit="none", shorter_side=None, layout="hwc", fast=False
        )


def plans_of(spec: DatasetSpec) -> list[ImagePlan]:
    """One plan an image column, in the order of the specification."""
    plans = []
    encoded = encoded_columns(spec)
    for name, column in spec.columns.items():
        if not isinstance(column, ImageColumn):
            continue
        recipe = Recipe.of(column)
        masks = tuple(
            MaskPlan(mask, found, recipe.for_mask())
            for mask, found in spec.columns.items()
            if isinstance(found, MaskImageColumn) and found.image == name
        )
        shapes = tuple(
            (shape, found)
            for shape, found in spec.columns.items()
            if isinstance(found, BoxesColumn | PointsColumn) and found.image == name
        )
        plans.append(ImagePlan(name, column, recipe, name in encoded, masks, shapes))
    return plans


def fields_of_images(spec: DatasetSpec) -> list[Field]:
    """List what a document must give for the image columns, their masks, boxes and points."""
    fields = []
    for plan in plans_of(spec):
        required = plan.column.required
        fields.append(Field(plan.name, plan.column.path, field_type(plan.column.sources), required))
        fields += [
            Field(mask.name, mask.column.path, field_type(mask.column.sources), required)
            for mask in plan.masks
        ]
        for name, shape in plan.shapes:
            numbers = ListOf("float64", _GEOMETRY[shape.kind])
            fields.append(Field(name, shape.path, ListOf(numbers), required))
    return fields


def columns_of(plan: ImagePlan) -> list[Column]:
    """The stored columns of one image column, companions included."""
    name, recipe = plan.name, plan.recipe
    present = None if plan.column.required else f"{name}__present"
    columns = [
        _picture(name, "image", recipe, plan, present),
        Column(f"{name}__source", "npy", "|u1", (16,), kind="binary", attributes=_about_source(name)),
        Column(f"{name}__frame", "npy", "<i4", (3,), kind="vector", attributes=_about_frame(name)),
    ]
    if present:
        columns.append(Column(present, "npy", "|b1", kind="bool"))
    sums = "<f8" if recipe.dtype == "float32" else "<u8"
    about_sums = {"description": f"number of pixels of {name}, sum and sum of squares of each channel"}
    columns.append(
        Column(
            f"{name}__sums", "npy", sums, (1 + 2 * recipe.num_channels,), kind="vector", attributes=about_sums
        )
    )
    if plan.column.perceptual_hash:
        columns.append(
            Column(
                f"{name}__phash", "npy", "<u8", kind="number", attributes={"description": "difference hash"}
            )
        )
    for mask in plan.masks:
        columns.append(_picture(mask.name, "mask_image", mask.recipe, plan, present))
        columns.append(
            Column(
                f"{mask.name}__source",
                "npy",
                "|u1",
                (16,),
                kind="binary",
                attributes=_about_source(mask.name),
            )
        )
    for shape, column in plan.shapes:
        about = {"image": name, "units": "px", "path": column.path}
        if isinstance(column, BoxesColumn):
            about["format"] = column.format
        text = f"large_list<fixed_size_list<float32>[{_GEOMETRY[column.kind]}]>"
        columns.append(
            Column(shape, "arrow", arrow_type=text, kind=column.kind, mask=present, attributes=about)
        )
    return columns


def _picture(name: str, kind: str, recipe: Recipe, plan: ImagePlan, present: str | None) -> Column:
    is_mask = kind == "mask_image"
    path = plan.column.path if not is_mask else next(m.column.path for m in plan.masks if m.name == name)
    about: dict[str, Any] = {
        "path": path,
        "mode": recipe.mode,
        "layout": recipe.layout,
        "fit": recipe.fit,
        "filter": recipe.filter,
        "recipe": plan.fingerprint,
    }
    if is_mask:
        about["image"] = plan.name
    if plan.is_encoded and not is_mask:
        about |= {
            "format": "encoded",
            "size": list(recipe.size) if recipe.size else None,
            "shorter_side": recipe.shorter_side,
            "padding": list(recipe.padding),
            "dtype": recipe.dtype,
        }
        return Column(name, "arrow", arrow_type="large_binary", kind=kind, mask=present, attributes=about)
    dtype = _DTYPES[recipe.dtype]
    if recipe.shape is None:
        about["dtype"] = dtype
        return Column(name, "arrow", arrow_type=VARYING, kind=kind, mask=present, attributes=about)
    return Column(name, "npy", dtype, recipe.shape, kind=kind, mask=present, attributes=about)


def _about_source(name: str) -> dict[str, str]:
    return {"description": f"xxh3_128 of the encoded bytes of {name}; zeros where there are none"}


def _about_frame(name: str) -> dict[str, str]:
    return {"description": f"width, height and EXIF orientation of {name} as it was stored", "units": "px"}
