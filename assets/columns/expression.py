"""Filter expressions evaluated: parsed by `assets.spec.expression`, turned into Arrow expressions."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.columns.errors import ExpressionError
from assets.spec.expression import columns_of, parse_where

ROW = "0"
"""Name of the column of row numbers; no column of a dataset can have it."""

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: lambda left, right: left == right,
    ast.NotEq: lambda left, right: left != right,
    ast.Lt: lambda left, right: left < right,
    ast.LtE: lambda left, right: left <= right,
    ast.Gt: lambda left, right: left > right,
    ast.GtE: lambda left, right: left >= right,
}


def select_rows(where: str, columns: Mapping[str, pa.Array]) -> npt.NDArray[np.int64]:
    """Give the rows that satisfy an expression; a comparison with a missing value is not satisfied.

    Parameters
    ----------
    where
        The expression.
    columns
        The columns that `columns_of(where)` names, all of one length, null where a value is missing.

    Raises
    ------
    ExpressionError
        A column is not among `columns`, or values are compared that have no order or equality.
    """
    for name in columns_of(where):
        if name not in columns:
            raise ExpressionError(
                f"where {where!r}: no column {name!r}; allowed are {', '.join(sorted(columns))}"
            )
    num_rows = len(next(iter(columns.values()))) if columns else 0
    table = pa.table({**columns, ROW: pa.array(np.arange(num_rows, dtype=np.int64))})
    try:
        expression = _Builder({name: array.type for name, array in columns.items()}).build(parse_where(where))
        return np.asarray(table.filter(expression)[ROW].to_numpy(), np.int64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError) as error:
        raise ExpressionError(f"where {where!r} cannot be evaluated: {error}") from error


class _Builder:
    def __init__(self, types: Mapping[str, pa.DataType]) -> None:
        self.types = types

    def build(self, node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return pc.field(name)
            case ast.Constant(value=value):
                return pc.scalar(value)
            case ast.BoolOp(op=operator, values=values):
                parts = [self.build(value) for value in values]
                whole = parts[0]
                for part in parts[1:]:
                    whole = whole & part if isinstance(operator, ast.And) else whole | part
                return whole
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self.build(operand)
            case ast.UnaryOp(operand=operand):
                if isinstance(operand, ast.Constant) and isinstance(operand.value, (int, float)):
                    return pc.scalar(-operand.value)
                return pc.negate_checked(self.build(operand))
            case ast.BinOp(left=left, op=operator, right=right):
                return self._arithmetic(self.build(left), operator, self.build(right))
            case ast.Compare():
                return self._compare(node)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return self._call(function, arguments)
        raise ExpressionError(f"{type(node).__name__} is not allowed")

    @staticmethod
    def _arithmetic(left: Any, operator: ast.operator, right: Any) -> Any:
        if isinstance(operator, ast.Div):
            return pc.divide(left.cast(pa.float64()), right)
        function = {ast.Add: pc.add_checked, ast.Sub: pc.subtract_checked, ast.Mult: pc.multiply_checked}
        return function[type(operator)](left, right)

    def _compare(self, node: ast.Compare) -> Any:
        left, whole = self.build(node.left), None
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, (ast.In, ast.NotIn)):
                values = [part.value for part in right.elts]  # type: ignore[attr-defined]
                part = left.isin(values)
                part = part if isinstance(operator, ast.In) else ~part & left.is_valid()
            elif isinstance(operator, (ast.Is, ast.IsNot)):
                part = left.is_null() if isinstance(operator, ast.Is) else left.is_valid()
            else:
                other = self.build(right)
                part = _COMPARE[type(operator)](left, other)
                left = other
            whole = part if whole is None else whole & part
        return whole

    def _call(self, function: str, arguments: list[ast.expr]) -> Any:
        if function == "date":
            return pc.scalar(pa.scalar(_moment(arguments[0]), pa.timestamp("ms", tz="UTC")))
        first = self.build(arguments[0])
        if function == "abs":
            return pc.abs_checked(first)
        if function == "len":
            return self._length(arguments[0], first)
        pattern = arguments[1]
        if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str):
            raise ExpressionError(f"{function} takes a column and a string")
        return (pc.starts_with if function == "startswith" else pc.match_substring)(first, pattern.value)

    def _length(self, node: ast.expr, built: Any) -> Any:
        kind = self.types.get(node.id) if isinstance(node, ast.Name) else None
        if kind is None:
            raise ExpressionError("len takes the name of a text, list or binary column")
        if pa.types.is_large_string(kind) or pa.types.is_string(kind):
            return pc.utf8_length(built)
        return pc.binary_length(built) if pa.types.is_large_binary(kind) else pc.list_value_length(built)


def _moment(node: ast.expr) -> datetime:
    text = node.value if isinstance(node, ast.Constant) else None
    if not isinstance(text, str):
        raise ExpressionError("date takes a string such as date('2024-05-01')")
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ExpressionError(f"date({text!r}): {error}") from error
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment
