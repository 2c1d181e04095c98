"""Values of documents at dotted paths, as the server finds them; no document is decoded.

A value is kept as tables keep an `_id`: its BSON type byte, then its bytes. None is a value that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from assets.mongo.layout import T_ARRAY, T_DOCUMENT
from assets.mongo.replies import elements

Raw: TypeAlias = bytes
Members: TypeAlias = Mapping[str, Raw]
"""Members of a document by name; of those at the top, the ones that somebody asks for."""


def members_of(value: Raw) -> Iterator[tuple[str, Raw]]:
    """Name and value of every member of a document or array."""
    for bson_type, name, start, end in elements(memoryview(value), 1):
        yield name.decode(errors="surrogateescape"), bytes((bson_type,)) + value[start:end]


def find(value: Raw, wanted: str) -> Raw | None:
    """The first member of a name."""
    return next((found for name, found in members_of(value) if name == wanted), None)


def query_values(members: Members, path: Sequence[str], *, into_last: bool = True) -> Iterator[Raw | None]:
    """Every value that a condition on a path is asked of: a document satisfies it when one of them does.

    Arrays on the way stand for each of their documents, and for the element that a segment of digits names.
    An array at the end stands for its elements and itself, unless `into_last` is False.
    Source: `BSONElementIterator` in `src/mongo/db/matcher/path.cpp` of MongoDB 6.0.
    """
    return _below(members.get(path[0]), path[1:], into_last=into_last)


def _below(value: Raw | None, rest: Sequence[str], *, into_last: bool) -> Iterator[Raw | None]:
    while rest and value is not None and value[0] == T_DOCUMENT:
        value, rest = find(value, rest[0]), rest[1:]
    if value is None or value[0] != T_ARRAY:
        yield None if rest else value
    elif rest:
        for name, element in members_of(value):
            yield from _through(name, element, rest, into_last=into_last)
    else:
        if into_last:
            yield from (element for _, element in members_of(value))
        yield value


def _through(name: str, element: Raw, rest: Sequence[str], *, into_last: bool) -> Iterator[Raw | None]:
    """What an element of an array on the way gives for the segments behind the array."""
    if element[0] == T_DOCUMENT:
        yield from _below(find(element, rest[0]), rest[1:], into_last=into_last)
    if rest[0] == name and name[:1].isdigit():
        if len(rest) == 1:
            yield element
        elif element[0] in (T_DOCUMENT, T_ARRAY):
            yield from _below(element, rest[1:], into_last=into_last)


def shown_value(members: Members, path: Sequence[str]) -> Raw | list[Raw] | None:
    """What the expression `$path` gives; a list where arrays lie on the way, of what their elements give."""
    return _shown(members.get(path[0]), path[1:])


def _shown(value: Raw | None, rest: Sequence[str]) -> Raw | list[Raw] | None:
    if not rest or value is None:
        return value
    if value[0] == T_DOCUMENT:
        return _shown(find(value, rest[0]), rest[1:])
    if value[0] != T_ARRAY:
        return None
    gathered: list[Raw] = []
    for _, element in members_of(value):
        found = _shown(element, rest) if element[0] == T_DOCUMENT else None
        gathered += found if isinstance(found, list) else [] if found is None else [found]
    return gathered
