"""The fits of a snapshot as a torch module: the same arithmetic in training and in serving.

    transforms = Transforms.from_snapshot(snapshot, ["age", "image"])
    batch = transforms(batch)                                   # columns without a fit pass through
    program = torch.export.export(transforms, (batch,))         # or torch.save(transforms.state_dict(), ...)

Each column's steps are applied in order to the rows as they are stored. Whole numbers of 32 bits and more and
float64 are computed in float64, everything else in float32; the result is float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from loaders.errors import InvalidOption
from loaders.pictures import handed_out, is_picture
from shards import Column, Snapshot

WIDE = ("<f8", "<i8", "<u8", "<i4", "<u4")


class Affine(nn.Module):
    """(x - shift) / scale: standardize, min_max and robust."""

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor, present: Tensor | None) -> Tensor:
        """Shift and scale."""
        return (x - self.shift) / self.scale


class Log1p(nn.Module):
    """log(1 + x)."""

    def forward(self, x: Tensor, present: Tensor | None) -> Tensor:
        """Take the logarithm."""
        return torch.log1p(x)


class Clip(nn.Module):
    """Limit to [low, high]."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor, present: Tensor | None) -> Tensor:
        """Limit; NaN stays."""
        return torch.clamp(x, self.low, self.high)


class Impute(nn.Module):
    """Give a value where x is NaN or its mask is False."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, x: Tensor, present: Tensor | None) -> Tensor:
        """Fill in."""
        missing = torch.isnan(x) if present is None else torch.isnan(x) | ~present
        return torch.where(missing, self.value, x)


class OneHot(nn.Module):
    """Codes as rows of zeros with a one; a code outside 0 to num_codes - 1 gives zeros alone."""

    codes: Tensor

    def __init__(self, num_codes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.arange(num_codes, dtype=torch.int32))

    def forward(self, x: Tensor, present: Tensor | None) -> Tensor:
        """Compare with every code."""
        equal = x.unsqueeze(-1) == self.codes
        return (equal if present is None else equal & present.unsqueeze(-1)).to(torch.float32)


class ColumnTransform(nn.Module):
    """The steps of one column.

    Parameters
    ----------
    column
        The stored column.
    steps
        Its steps as the snapshot holds them.
    """

    def __init__(self, column: Column, steps: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.is_code = any(step["op"] == "one_hot" for step in steps)
        self.dtype = torch.float64 if column.dtype in WIDE else torch.float32
        elements = column.attributes.get("element_mask")
        self.mask = elements if isinstance(elements, str) else column.mask
        self.broadcast_mask = not isinstance(elements, str) and len(column.shape) > 0
        varies = column.encoding == "arrow" and is_picture(column)  # in shape; such come one by one
        self.rank = 4 if varies else len(column.shape) + 1
        self.steps = nn.ModuleList(self._step(column.name, step) for step in steps)

    def _step(self, name: str, step: Mapping[str, Any]) -> nn.Module:
        match step["op"]:
            case "standardize":
                return Affine(self._tensor(step, "mean"), self._tensor(step, "std"))
            case "min_max":
                low = self._tensor(step, "low")
                return Affine(low, self._tensor(step, "high") - low)
            case "robust":
                return Affine(self._tensor(step, "center"), self._tensor(step, "scale"))
            case "log1p":
                return Log1p()
            case "clip":
                return Clip(float(step["low"]), float(step["high"]))
            case "impute":
                return Impute(self._tensor(step, "value"))
            case "one_hot":
                return OneHot(int(step["num_codes"]))
        raise InvalidOption(
            f"column {name}: transform {step['op']!r} is not known; allowed are standardize, min_max, "
            "robust, log1p, clip, impute and one_hot; a newer release may have written this snapshot"
        )

    def _tensor(self, step: Mapping[str, Any], key: str) -> Tensor:
        values = torch.tensor(step[key], dtype=torch.float64).to(self.dtype)
        axis = step.get("axis", -1)
        if values.ndim == 0 or axis in (-1, self.rank - 1):
            return values
        shape = [1] * self.rank
        shape[axis] = -1
        return values.reshape(shape)

    def forward(self, x: Tensor, present: Tensor | None) -> Tensor:
        """Apply the steps to rows of shape (rows, *column.shape)."""
        if present is not None and self.broadcast_mask:
            present = present.reshape([-1] + [1] * (self.rank - 1))
        if not self.is_code:
            x = x.to(self.dtype)
        for step in self.steps:
            x = step(x, present)
        return x.to(torch.float32)


class Transforms(nn.Module):
    """The fitted transforms of some columns; on whatever device it is moved to.

    Parameters
    ----------
    columns
        Stored columns by name, as a snapshot describes them.
    transforms
        Steps by column, as a snapshot holds them; a column without steps passes through.

    Raises
    ------
    InvalidOption
        A step is not known.

    Notes
    -----
    Holds no reference to files; can be pickled, copied, and exported by `torch.export`. Parameters of the fit
    are buffers, so they move with `.to(device)` and are kept in `state_dict()`; nothing is trained.
    """

    def __init__(
        self, columns: Mapping[str, Column], transforms: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        super().__init__()
        self.names = [name for name in columns if transforms.get(name)]
        self.columns = nn.ModuleList(ColumnTransform(columns[name], transforms[name]) for name in self.names)

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, columns: Sequence[str] | None = None) -> Transforms:
        """Take the fits of a snapshot, of the named columns or of all."""
        known = snapshot.columns
        names = list(known) if columns is None else list(columns)
        return cls({name: handed_out(known[name]) for name in names}, snapshot.transforms)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Transform a batch.

        Parameters
        ----------
        batch
            Tensors by column, of shape (rows, *shape) and the stored dtype; masks under their own names.

        Returns
        -------
        dict
            The same columns; those with a fit as float32. The tensors given are left as they are.
        """
        done = dict(batch)
        for name, column in zip(self.names, self.columns, strict=True):
            if name in batch:
                mask = column.mask
                present = batch[mask] if isinstance(mask, str) and mask in batch else None
                done[name] = column(batch[name], present)
        return done

    def extra_repr(self) -> str:
        """Name the columns."""
        return ", ".join(self.names)
