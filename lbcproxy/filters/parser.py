"""The text of a filter as a syntax tree.

The grammar is that of Python's expressions, and Python's own parser reads it: nothing of it is
run. `=~`, which Python does not have, is read as `@`, which no filter needs.
"""

from __future__ import annotations

import ast
import re
import warnings

from lbcproxy.filters.errors import BadFilter

__all__ = ["LONGEST", "place_of", "read"]

LONGEST = 10_000
"""Characters of a filter."""
DEEPEST = 100
"""Levels of what stands in each other; each takes some of Python's stack when it is asked."""
_PIECES = re.compile(
    r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|=~|&&|\|\||&|\||!=|![~]?|#|@|:=|[\x00-\x1f]', re.DOTALL
)
_INSTEAD = {
    "&&": "write `and`",
    "&": "write `and`",
    "||": "write `or`",
    "|": "write `or`",
    "!": "write `not`",
    "!~": "write `not NAME =~ PATTERN`",
}


def read(text: str) -> ast.expr:
    """Read a filter as a tree; raises BadFilter."""
    if len(text) > LONGEST:
        raise BadFilter(f"longer than {LONGEST:,} characters", text, LONGEST)
    begin = len(text) - len(text.lstrip())
    if begin == len(text):
        raise BadFilter("it is empty", text, 0)
    # Blanks in the place of the blanks before it would be taken for an indented block.
    source = _PIECES.sub(lambda piece: _as_python(piece, text), text)[begin:]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d" in a pattern, which is read raw
            tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        raise _syntax(error, text, begin) from None
    except (RecursionError, MemoryError, ValueError, OverflowError):
        raise BadFilter("nested too deeply", text, begin) from None
    _hold_depth(tree.body, text)
    return tree.body


def _hold_depth(tree: ast.expr, text: str) -> None:
    """Refuse a tree that is too deep to be asked; walked level by level, on no stack."""
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    deep = [node for node in level if isinstance(node, ast.expr)]
    if deep:
        raise BadFilter("nested too deeply", text, place_of(deep[0], text))


def _as_python(piece: re.Match[str], text: str) -> str:
    found = piece[0]
    if found == "=~":
        return "@ "
    if found[0] in "\"'" or found == "!=":
        return found
    if found.isspace():
        return " " * len(found)
    what = f"{found!r} is not understood" if found.isprintable() else "a control character"
    raise BadFilter(what, text, piece.start(), _INSTEAD.get(found, ""))


def _syntax(error: SyntaxError, text: str, begin: int) -> BadFilter:
    """Say what Python's parser found, in words that do not depend on its version."""
    at_end = not error.offset or (error.lineno or 1) > 1
    place = len(text) if at_end else begin + (error.offset or 1) - 1
    said = (error.msg or "").lower()
    if "never closed" in said:
        return BadFilter("this is never closed", text, place)
    if "unterminated string" in said:
        return BadFilter("the text that begins here does not end", text, place)
    if place >= len(text.rstrip()):
        return BadFilter("it ends too early", text, len(text.rstrip()))
    assigned = re.search(r"(?<![=!<>])=(?![=~])", text)
    if assigned is not None and (place == assigned.start() or "==" in said):
        return BadFilter("this is not understood here", text, assigned.start(), "`==` compares")
    return BadFilter("this is not understood here", text, place)


def place_of(node: ast.AST, text: str) -> int:
    """Give the place of a node in characters; Python counts in bytes, from the first character."""
    begin = len(text) - len(text.lstrip())
    behind = text[begin:].encode()
    return begin + len(behind[: getattr(node, "col_offset", 0)].decode("utf-8", "ignore"))


def raw_text(node: ast.Constant, text: str) -> str:
    """Give a text between quotes as it was typed: a pattern's backslashes are its own."""
    begin = place_of(node, text)
    begin_of_all = len(text) - len(text.lstrip())
    behind = text[begin_of_all:].encode()[: node.end_col_offset].decode("utf-8", "ignore")
    typed = text[begin : begin_of_all + len(behind)]
    simple = re.fullmatch(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'', typed, re.DOTALL)
    if simple is None:
        return str(node.value)
    return simple[1] if simple[1] is not None else simple[2]
