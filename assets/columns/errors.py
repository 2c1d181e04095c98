"""Errors of building records and snapshots: one tree, with `ColumnError` at its root.

ColumnError
├── NotMaterialized     an input of the asset has no version, or one of other documents
└── ExpressionError     a filter expression names a column or compares values that do not go together
"""

from __future__ import annotations


class ColumnError(Exception):
    """Anything that goes wrong between extracted documents and a snapshot."""


class NotMaterialized(ColumnError):
    """An input of the asset is missing or does not belong to the pinned documents."""


class ExpressionError(ColumnError, ValueError):
    """A filter expression cannot be evaluated over the columns there are."""
