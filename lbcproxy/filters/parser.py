"""The parser: from the text of a filter to a syntax tree.

The grammar is that of Python's expressions, and Python's own parser reads it. Nothing is executed.
`=~`, which Python does not have, is replaced by `@`, which no filter needs.
"""

from __future__ import annotations

import ast
import re
import warnings

from lbcproxy.filters.errors import BadFilter, offset_of

__all__ = ["MAX_LENGTH", "parse_tree", "raw_text"]

MAX_LENGTH = 10_000
"""The maximum length of a filter in characters."""
MAX_DEPTH = 100
"""The maximum nesting; each level takes some of Python's stack when the filter is evaluated."""
_TOKENS = re.compile(
    r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|=~|&&|\|\||&|\||!=|![~]?|#|@|:=|[\x00-\x1f]', re.DOTALL
)
_SUGGESTIONS = {
    "&&": "write `and`",
    "&": "write `and`",
    "||": "write `or`",
    "|": "write `or`",
    "!": "write `not`",
    "!~": "write `not NAME =~ PATTERN`",
}


def parse_tree(text: str) -> ast.expr:
    """Parse a filter; raises BadFilter."""
    if len(text) > MAX_LENGTH:
        raise BadFilter(f"longer than {MAX_LENGTH:,} characters", text, MAX_LENGTH)
    begin = len(text) - len(text.lstrip())
    if begin == len(text):
        raise BadFilter("it is empty", text, 0)
    # Leading blanks would be taken for an indented block.
    source = _TOKENS.sub(lambda token: _as_python(token, text), text)[begin:]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d" in a pattern, which is taken raw
            tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        raise _syntax_error(error, text, begin) from None
    except (RecursionError, MemoryError, ValueError, OverflowError):
        raise BadFilter("nested too deeply", text, begin) from None
    _check_depth(tree.body, text)
    return tree.body


def _check_depth(tree: ast.expr, text: str) -> None:
    """Reject a tree that is too deep; it is walked level by level, without recursion."""
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    deep = [node for node in level if isinstance(node, ast.expr)]
    if deep:
        raise BadFilter("nested too deeply", text, offset_of(deep[0], text))


def _as_python(token: re.Match[str], text: str) -> str:
    found = token[0]
    if found == "=~":
        return "@ "
    if found[0] in "\"'" or found == "!=":
        return found
    if found.isspace():
        return " " * len(found)
    what = f"{found!r} is not understood" if found.isprintable() else "a control character"
    raise BadFilter(what, text, token.start(), _SUGGESTIONS.get(found, ""))


def _syntax_error(error: SyntaxError, text: str, begin: int) -> BadFilter:
    """Describe what Python's parser found, in words that do not depend on its version."""
    at_end = not error.offset or (error.lineno or 1) > 1
    offset = len(text) if at_end else begin + (error.offset or 1) - 1
    reason = (error.msg or "").lower()
    if "never closed" in reason:
        return BadFilter("this is never closed", text, offset)
    if "unterminated string" in reason:
        return BadFilter("the text that starts here does not end", text, offset)
    if offset >= len(text.rstrip()):
        return BadFilter("it ends too early", text, len(text.rstrip()))
    assigned = re.search(r"(?<![=!<>])=(?![=~])", text)
    if assigned is not None and (offset == assigned.start() or "==" in reason):
        return BadFilter("this is not understood here", text, assigned.start(), "`==` compares")
    return BadFilter("this is not understood here", text, offset)


def raw_text(node: ast.Constant, text: str) -> str:
    """Return a text between quotes as it was typed, with a pattern's backslashes."""
    begin = offset_of(node, text)
    indent = len(text) - len(text.lstrip())
    until_end = text[indent:].encode()[: node.end_col_offset].decode("utf-8", "ignore")
    typed = text[begin : indent + len(until_end)]
    simple = re.fullmatch(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'', typed, re.DOTALL)
    if simple is None:
        return str(node.value)
    return simple[1] if simple[1] is not None else simple[2]
