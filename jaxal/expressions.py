"""Strategies as text: `class_balanced(badge(first=drawn), factor=5)`, nested."""

import ast
from collections.abc import Callable
from typing import Any


def evaluate(
    text: str, make: Callable[..., Any], is_name: Callable[[str], bool]
) -> Any:
    """Returns what an expression of names and settings stands for; nothing is executed.

    `name`, or `name(part, ..., setting=value)`: parts are expressions; a value is a
    number, a string, a list or another literal, or an expression, `inf`, and any other
    bare word a string.

    Args:
      text: the expression.
      make: `(name, *parts, **settings)`, raising ValueError for what cannot be.
      is_name: whether `make` knows a name.

    Raises:
      ValueError: the text is no expression, or `make` refuses; it points at the
        character.

    Example:
      >>> from jaxal.expressions import evaluate
      >>> def make(name, *parts, **settings):
      ...   return [name, *parts, settings]
      >>> known = {"once", "twice"}.__contains__
      >>> evaluate("twice(once, by=[1, 2], how=well)", make, known)
      ['twice', ['once', {}], {'by': [1, 2], 'how': 'well'}]
    """
    text = text.strip().replace("\n", " ")  # one line, to point at
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        column = max((error.offset or 1) - 1, 0)
        raise _pointing(text, column, "expected name(part, key=value)") from None
    return _of_node(tree, text, make, is_name)


def _of_node(node: ast.AST, text: str, make: Callable, is_name: Callable) -> Any:
    if isinstance(node, ast.Name):
        return _made(node, text, make, (), {})
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise _pointing(text, _column(node, text), "expected the name of a strategy")
    parts = [_of_node(part, text, make, is_name) for part in node.args]
    settings = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise _pointing(text, _column(keyword, text), "expected setting=value")
        if keyword.arg in settings:
            why = f"{keyword.arg} is set twice, expected once"
            raise _pointing(text, _column(keyword, text), why)
        settings[keyword.arg] = _value(keyword.value, text, make, is_name)
    return _made(node.func, text, make, parts, settings)


def _value(node: ast.AST, text: str, make: Callable, is_name: Callable) -> Any:
    if isinstance(node, ast.Call) or (isinstance(node, ast.Name) and is_name(node.id)):
        return _of_node(node, text, make, is_name)
    if isinstance(node, ast.Name):
        return float("inf") if node.id == "inf" else node.id
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(entry, text, make, is_name) for entry in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError:
        why = "expected a number or a word"
        raise _pointing(text, _column(node, text), why) from None


def _made(node: ast.Name, text: str, make: Callable, parts: Any, settings: Any) -> Any:
    try:
        return make(node.id, *parts, **settings)
    except (TypeError, ValueError) as error:
        if node.id == text or getattr(error, "is_pointing", False):
            raise  # there is nothing to point out, or it was pointed out further inside
        raise _pointing(text, _column(node, text), str(error)) from None


def _column(node: Any, text: str) -> int:
    return len(text.encode()[: node.col_offset].decode())  # Python counts bytes


def _pointing(text: str, column: int, why: str) -> ValueError:
    error = ValueError(f"{why}\n  {text}\n  {' ' * column}^")
    error.is_pointing = True  # type: ignore[attr-defined]
    return error
