"""Filter expressions over columns: a small, closed part of Python's syntax, parsed and never evaluated by it.

    age >= 18 and color in ["red", "blue"] and not broken and (len(tags) > 2 or name is None)

Allowed: column names, numbers, strings, True, False, None, lists of them after `in`; `and`, `or`, `not`;
`== != < <= > >= in not in is is not` (the last two with None), chains such as `1 < x < 5`; `+ - * /` and
unary minus; `len(column)`, `abs(number)`, `startswith(text, "a")`, `contains(text, "a")` and
`date("2024-05-01")`.
"""

from __future__ import annotations

import ast

FUNCTIONS = {"len": 1, "abs": 1, "startswith": 2, "contains": 2, "date": 1}
MAX_LENGTH = 4_096
MAX_NODES = 512

_ALLOWED = (
    ast.Expression,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.USub,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.Compare,
    ast.Eq,
    ast.NotEq,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.In,
    ast.NotIn,
    ast.Is,
    ast.IsNot,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.Call,
)


def parse_where(text: str) -> ast.expr:
    """Parse a filter expression.

    Raises
    ------
    ValueError
        The text is no expression, is too long, or uses what is not allowed; the message says what and where.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"where has {len(text)} characters, at most {MAX_LENGTH} are allowed")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"where {text!r} is no expression: {error}") from error
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise ValueError(f"where has {len(nodes)} parts, at most {MAX_NODES} are allowed")
    for node in nodes:
        _check(node)
    if not _columns(tree):
        raise ValueError(f"where {text!r} names no column")
    return tree.body


def columns_of(text: str) -> list[str]:
    """Names of the columns that an expression reads, sorted."""
    return _columns(parse_where(text))


def _columns(tree: ast.AST) -> list[str]:
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return sorted(
        {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}
    )


def _check(node: ast.AST) -> None:
    where = f"at column {getattr(node, 'col_offset', 0) + 1} of where"
    if not isinstance(node, _ALLOWED):
        raise ValueError(
            f"{type(node).__name__} {where} is not allowed; allowed are comparisons, and, or, not, in, "
            f"+ - * / and {', '.join(FUNCTIONS)}"
        )
    if isinstance(node, ast.Constant) and not isinstance(node.value, (str, int, float, bool, type(None))):
        raise ValueError(f"{node.value!r} {where} is not allowed; numbers, strings, True, False, None are")
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
            raise ValueError(f"call {where} is not allowed; functions are {', '.join(FUNCTIONS)}")
        if len(node.args) != FUNCTIONS[node.func.id]:
            raise ValueError(f"{node.func.id} {where} takes {FUNCTIONS[node.func.id]} arguments")
    if isinstance(node, ast.Compare):
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, (ast.In, ast.NotIn)) != isinstance(right, (ast.List, ast.Tuple)):
                raise ValueError(f"in {where} needs a list of constants, and only in takes one")
            if isinstance(operator, (ast.Is, ast.IsNot)) and not (
                isinstance(right, ast.Constant) and right.value is None
            ):
                raise ValueError(f"is {where} compares with None only")
    if isinstance(node, (ast.List, ast.Tuple)) and not all(
        isinstance(part, ast.Constant) for part in node.elts
    ):
        raise ValueError(f"list {where} may hold constants only")
