"""Plain values as Lua source, for people to read as well."""

from __future__ import annotations

import re

from lbcproxy.json_types import JsonValue

__all__ = ["lua"]

WIDTH = 100
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED = frozenset(
    (
        *("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if"),
        *("in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while"),
    )
)


def lua(value: JsonValue, indent: str = "") -> str:
    """Write a value of strings, numbers, booleans, lists and dictionaries as a Lua expression."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{_key(name)} = {lua(each, deeper)}" for name, each in value.items()]
    elif isinstance(value, list | tuple):
        parts = [lua(each, deeper) for each in value]
    else:
        raise TypeError(f"{value!r} has no form in Lua")
    line = f"{{{', '.join(parts)}}}"
    if len(indent) + len(line) <= WIDTH and "\n" not in line:
        return line
    return "{\n" + "".join(f"{deeper}{part},\n" for part in parts) + indent + "}"


def _key(name: str | int) -> str:
    if isinstance(name, str) and NAME.fullmatch(name) and name not in RESERVED:
        return name
    return f"[{lua(name)}]"


def _quoted(text: str) -> str:
    """Quote a text; what is not printable ASCII byte by byte, as all versions of Lua read it."""
    return '"' + "".join(map(_character, text.encode())) + '"'


def _character(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03}"
