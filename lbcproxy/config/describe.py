"""Every setting with its help and default, as a working YAML file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from lbcproxy.config.settings import Common, Config, Duration, Proxy, Size

__all__ = ["describe", "type_of"]

WIDTH = 96
EXAMPLE = {
    "network": "lbry-mainnet",
    "listen": "127.0.0.1:9245",
    "upstream": "127.0.0.1:9246",
}
HEAD = """\
The settings of lbcproxy, for `lbcproxy run -c config.yaml` and
`twistd -n lbcproxy -c config.yaml`.

This file lists all settings with their defaults, which also apply to settings that a file leaves \
out. `lbcproxy options` prints it. Settings before `proxies` apply to every proxy; a proxy can \
override them.
"""
TYPE_NAMES: dict[object, str] = {
    str: "text",
    int: "number",
    bool: "true or false",
    type(None): "null",
    tuple[str, ...]: "list of texts",
    Duration: "time",
    Size: "size",
}


def describe() -> str:
    """Return the YAML file as text."""
    parts = [_comment(HEAD, ""), *_settings(Common, "")]
    own = [name for name in Config.__struct_fields__ if name not in Common.__struct_fields__]
    parts += _settings(Config, "", [name for name in own if name != "proxies"])
    parts += [_comment(_description(Config, "proxies"), "") + "proxies:\n" + "".join(_proxy())]
    return "\n".join(parts)


def _proxy() -> Iterator[str]:
    """Yield the settings that only a proxy has, as a list of one proxy."""
    own = [name for name in Proxy.__struct_fields__ if name not in Common.__struct_fields__]
    first = "  - "
    for name in ["network", *own]:
        if name == "network":
            text = f"# {_description(Proxy, name)}\n"
        else:
            text = _comment(_description(Proxy, name) + f" Type {type_of(Proxy, name)}.", "    ")
        yield f"{text if name != 'network' else ''}{first}{name}: {_value(Proxy, name)}\n"
        first = "    "


def _settings(
    kind: type[msgspec.Struct], indent: str, names: list[str] | None = None
) -> Iterator[str]:
    for name in names or kind.__struct_fields__:
        text = f"{_description(kind, name)} Type {type_of(kind, name)}."
        yield f"{_comment(text, indent)}{indent}{name}: {_value(kind, name)}\n"


def _value(kind: type[msgspec.Struct], name: str) -> str:
    default: object = _defaults(kind)[name]
    if kind is Proxy:
        default = EXAMPLE.get(name, default)
    if isinstance(default, Duration):
        default = int(default) if default.is_integer() else float(default)
    if isinstance(default, Size):
        default = _size(default)
    return str(yaml.safe_dump(default, default_flow_style=True, width=1000)).split("\n")[0]


@cache
def _defaults(kind: type[msgspec.Struct]) -> dict[str, object]:
    return {each.name: each.default for each in msgspec.structs.fields(kind)}


@cache
def _hints(kind: type[msgspec.Struct]) -> dict[str, object]:
    """Return the types of all settings of a class; all at once, since each alone costs as much."""
    return get_type_hints(kind, include_extras=True)


def _size(size: Size) -> int | str:
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % Size.UNITS[unit] == 0:
            return f"{size // Size.UNITS[unit]} {unit}"
    return int(size)


def _description(kind: type[msgspec.Struct], name: str) -> str:
    return str(_meta(kind, name).description)


def _meta(kind: type[msgspec.Struct], name: str) -> msgspec.Meta:
    return next(each for each in get_args(_hints(kind)[name]) if isinstance(each, msgspec.Meta))


def type_of(kind: type[msgspec.Struct], name: str) -> str:
    """Return what a setting may be, for people."""
    meta = _meta(kind, name)
    if meta.extra and "choices" in meta.extra:
        return " or ".join(meta.extra["choices"])
    hint = get_args(_hints(kind)[name])[0]
    if get_origin(hint) is Literal:
        return ", ".join(get_args(hint)[:-1]) + f" or {get_args(hint)[-1]}"
    union = isinstance(hint, UnionType) or get_origin(hint) is Union
    return " or ".join(_kind(each, meta) for each in (get_args(hint) if union else (hint,)))


def _kind(hint: object, meta: msgspec.Meta) -> str:
    if get_origin(hint) is Annotated:
        hint, meta = get_args(hint)
    words = [TYPE_NAMES[hint]]
    if hint is int:
        words += [f"from {meta.ge:,}"] if meta.ge is not None else []
        words += [f"to {meta.le:,}"] if meta.le is not None else []
    return " ".join(words)


def _comment(text: str, indent: str) -> str:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(paragraph, WIDTH - len(indent)) or [""]
    return "".join(f"{indent}# {line}".rstrip() + "\n" for line in lines).rstrip("#\n ") + "\n"
