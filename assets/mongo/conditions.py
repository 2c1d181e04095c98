"""Queries of MongoDB, asked of documents that no server holds: a subset, and of that exactly what it says.

Operators that are not named here are refused, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import bson

from assets.mongo import layout
from assets.mongo.errors import SourceError
from assets.mongo.ids import raw_id
from assets.mongo.order import RANKS, order_key
from assets.mongo.paths import Members, Raw, query_values

Test: TypeAlias = Callable[[Members], bool]
OneTest: TypeAlias = Callable[[Raw | None], bool]

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda one, other: bool(one == other),
    "$gt": lambda one, other: bool(one > other),
    "$gte": lambda one, other: bool(one >= other),
    "$lt": lambda one, other: bool(one < other),
    "$lte": lambda one, other: bool(one <= other),
}
WITH_EQUALITY = ("$eq", "$gte", "$lte")
TOGETHER = ("$and", "$or", "$nor")
ALLOWED = (*COMPARISONS, "$ne", "$in", "$nin", "$exists", "$type", "$not", *TOGETHER)

TYPES = {
    "double": layout.T_DOUBLE,
    "string": layout.T_STRING,
    "object": layout.T_DOCUMENT,
    "array": layout.T_ARRAY,
    "binData": layout.T_BINARY,
    "undefined": layout.T_UNDEFINED,
    "objectId": layout.T_OBJECTID,
    "bool": layout.T_BOOL,
    "date": layout.T_DATE,
    "null": layout.T_NULL,
    "regex": layout.T_REGEX,
    "dbPointer": layout.T_DBPOINTER,
    "javascript": layout.T_CODE,
    "symbol": layout.T_SYMBOL,
    "javascriptWithScope": layout.T_CODE_WITH_SCOPE,
    "int": layout.T_INT32,
    "timestamp": layout.T_TIMESTAMP,
    "long": layout.T_INT64,
    "decimal": layout.T_DECIMAL128,
    "minKey": layout.T_MINKEY,
    "maxKey": layout.T_MAXKEY,
}
"""What the server calls the types of BSON."""

NUMBERS = ("double", "int", "long", "decimal")
NAN = order_key(raw_id(math.nan))
REFUSED = (layout.T_UNDEFINED, layout.T_REGEX, layout.T_MINKEY, layout.T_MAXKEY)
"""Types of values to compare with for which the server has rules of their own."""


def make_test(condition: Mapping[str, Any]) -> Test:
    """A function that tells of a document's members at the top whether it satisfies a query.

    Raises
    ------
    SourceError
        The query uses what only a server can do.
    """
    tests = [_top(name, value) for name, value in condition.items()]
    return tests[0] if len(tests) == 1 else lambda members: all(test(members) for test in tests)


def names_of(condition: Mapping[str, Any]) -> list[str]:
    """Names of the members at the top that a query looks at."""
    names: dict[str, None] = {}
    for name, value in condition.items():
        if name in TOGETHER:
            names.update(dict.fromkeys(inner for one in value for inner in names_of(one)))
        else:
            names[name.split(".")[0]] = None
    return list(names)


def _top(name: str, value: Any) -> Test:
    if name in TOGETHER:
        if not isinstance(value, Sequence) or not value or not all(isinstance(one, Mapping) for one in value):
            raise SourceError(f"filter: {name} takes a list of queries, got {value!r}")
        tests = [make_test(one) for one in value]
        if name == "$and":
            return lambda members: all(test(members) for test in tests)
        is_wanted = name == "$or"
        return lambda members: any(test(members) for test in tests) is is_wanted
    if name.startswith("$"):
        raise _refused(name)
    path = name.split(".")
    if not all(path):
        raise SourceError(f"filter: the path {name!r} has an empty segment")
    return _field(path, value)


def _field(path: Sequence[str], value: Any) -> Test:
    """The test of one path: operators, or a value to be equal to."""
    if not isinstance(value, Mapping) or not any(str(key).startswith("$") for key in value):
        return _asked(path, _comparison("$eq", value))
    tests = [_operator(path, operator, operand) for operator, operand in value.items()]
    return lambda members: all(test(members) for test in tests)


def _operator(path: Sequence[str], operator: str, operand: Any) -> Test:
    if operator in COMPARISONS:
        return _asked(path, _comparison(operator, operand))
    if operator == "$ne":
        return _negated(_asked(path, _comparison("$eq", operand)))
    if operator in ("$in", "$nin"):
        among = _asked(path, _among(operator, operand))
        return among if operator == "$in" else _negated(among)
    if operator == "$exists":
        there = _asked(path, lambda value: value is not None, into_last=False)
        return there if operand else _negated(there)
    if operator == "$type":
        types = _types(operand)
        return _asked(path, lambda value: value is not None and value[0] in types)
    if operator == "$not":
        if not isinstance(operand, Mapping) or not all(str(key).startswith("$") for key in operand):
            raise SourceError(f"filter: $not takes operators, got {operand!r}")
        return _negated(_field(path, operand))
    raise _refused(operator)


def _asked(path: Sequence[str], test: OneTest, *, into_last: bool = True) -> Test:
    return lambda members: any(map(test, query_values(members, path, into_last=into_last)))


def _negated(test: Test) -> Test:
    return lambda members: not test(members)


def _comparison(operator: str, operand: Any) -> OneTest:
    """Compare with a value of the same kind: numbers with numbers, strings with strings.

    Missing values count as null; NaN equals itself, and is neither above nor below anything.
    """
    wanted = _encoded(operator, operand)
    key, compare = order_key(wanted), COMPARISONS[operator]
    rank, is_equality = key[0], operator in WITH_EQUALITY
    if wanted[0] == layout.T_NULL:
        return lambda value: is_equality and _is_null(value)

    def test(value: Raw | None) -> bool:
        if value is None or RANKS[value[0]] != rank:
            return False
        found = order_key(value)
        if NAN in (found, key):
            return is_equality and found == key
        return compare(found, key)

    return test


def _among(operator: str, operand: Any) -> OneTest:
    if not isinstance(operand, Sequence) or isinstance(operand, str | bytes):
        raise SourceError(f"filter: {operator} takes a list, got {operand!r}")
    wanted = [_encoded(operator, one) for one in operand]
    keys = {order_key(one) for one in wanted}
    has_null = any(one[0] == layout.T_NULL for one in wanted)

    def test(value: Raw | None) -> bool:
        return has_null if _is_null(value) or value is None else order_key(value) in keys

    return test


def _is_null(value: Raw | None) -> bool:
    return value is None or value[0] in (layout.T_NULL, layout.T_UNDEFINED)


def _types(operand: Any) -> set[int]:
    names = operand if isinstance(operand, Sequence) and not isinstance(operand, str) else [operand]
    found: set[int] = set()
    for name in names:
        if name == "number":
            found.update(TYPES[one] for one in NUMBERS)
        elif isinstance(name, str) and name in TYPES:
            found.add(TYPES[name])
        else:
            allowed = ", ".join(("number", *TYPES))
            raise SourceError(f"filter: $type of a dump takes {allowed}; got {name!r}")
    return found


def _encoded(operator: str, operand: Any) -> Raw:
    """A value of a query as BSON."""
    if isinstance(operand, Mapping) and any(str(key).startswith("$") for key in operand):
        raise SourceError(f"filter: {operator} of a dump takes a value, got {operand!r}")
    try:
        raw = raw_id(operand)
    except (bson.errors.InvalidDocument, ValueError, OverflowError) as error:
        raise SourceError(f"filter: {operator} takes a value of BSON, got {operand!r}: {error}") from error
    if raw[0] in REFUSED:
        raise SourceError(
            f"filter: {operator} with {operand!r} is not compared without a server; restore the dump into one"
        )
    return raw


def _refused(operator: str) -> SourceError:
    return SourceError(
        f"filter: {operator} is not evaluated without a server; of a dump, allowed are {', '.join(ALLOWED)}; "
        "restore the dump into a server, or dump what is wanted with mongodump --query"
    )
