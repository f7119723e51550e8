"""Numbers written as a formula of the team size, such as "n-1"."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_UNARY: dict[type, Callable[[float], float]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


class ExpressionError(ValueError):
    """A text that is no formula of the names allowed in it."""


def evaluate(text: str, **names: float | int) -> float:
    """The value of a formula of numbers, the given names, + - * / // and parentheses.

    The text is parsed, never executed.

    Example:
        >>> evaluate("n/2", n=5)
        2.5

    Raises:
        ExpressionError: If the text holds anything else, or has no finite value.
    """
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body, names)
    except (SyntaxError, KeyError, ZeroDivisionError, OverflowError, RecursionError) as error:
        raise ExpressionError(_refusal(text, names)) from error
    if not math.isfinite(value):
        raise ExpressionError(_refusal(text, names))
    return value


def _value(node: ast.AST, names: Mapping[str, float | int]) -> float:
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(node, ast.Name):
        return float(names[node.id])
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)](_value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](_value(node.operand, names))
    raise KeyError(type(node).__name__)


def _refusal(text: str, names: Mapping[str, float | int]) -> str:
    return (
        f"{text!r} is no number; write one, or a formula of {', '.join(names) or 'numbers'} with "
        "+ - * / // and parentheses, such as 'n-1'"
    )
