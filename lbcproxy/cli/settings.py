"""Every setting as a flag of `lbcproxy run`, made from its declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from lbcproxy.config.settings import Config

__all__ = ["command", "given", "overriding", "setting_options"]

F = TypeVar("F", bound=Callable[..., Any])

ALIASES = {
    "record": ("-w", "--write"),
    "record_legs": ("--legs",),
    "plugins": ("-s", "--plugin"),
}
ELSEWHERE = ("proxies", "network", "magic", "signet_challenge")
"""Settings that have flags of their own."""
METAVARS = {
    "record": "FILE",
    "log_file": "FILE",
    "ring_file": "FILE",
    "control": "ADDRESS",
    "plugins": "'FILE [NAME=VALUE ...]'",
    "ring_on": "REASON",
    "socks_allow": "RULE",
    "socks_deny": "RULE",
    "socks_upstream": "HOST:PORT",
}


@click.command(name="options", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Print every setting with its help and default, as a config file that can be used."""
    from lbcproxy.config import describe

    click.echo(describe(), nl=False)


def setting_options(command: F) -> F:
    """Add a flag for each setting."""
    names = [name for name in Config.__struct_fields__ if name not in ELSEWHERE]
    hints = get_type_hints(Config, include_extras=True)
    for name in reversed(names):
        hint, meta = get_args(hints[name])[:2]
        words = f"{meta.description.split('. ')[0].rstrip('.')}."
        command = click.option(*_flags(name, hint), help=words, **_kind(name, hint))(command)
    return command


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Take the settings that flags were given for out of a command's options."""
    names = [name for name in Config.__struct_fields__ if name in options]
    found = {name: options.pop(name) for name in names}
    return {name: _value(name, value) for name, value in found.items() if value not in (None, ())}


def overriding(values: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings of a file with those of flags in their place, in every proxy."""
    proxies = values.get("proxies")
    if isinstance(proxies, list) and "proxies" not in flags:
        kept = [
            {key: value for key, value in each.items() if key not in flags}
            if isinstance(each, dict)
            else each
            for each in proxies
        ]
        return {**values, "proxies": kept, **flags}
    return {**values, **flags}


def _flags(name: str, hint: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if bool in (hint, *get_args(hint)) and hint is not bool:
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    return [name, *ALIASES.get(name, ()), flag]


def _kind(name: str, hint: Any) -> dict[str, Any]:
    if hint is bool:
        return {"is_flag": True, "default": None}
    if bool in get_args(hint):
        return {"default": None}
    if get_origin(hint) is tuple:
        return {"multiple": True, "metavar": METAVARS[name]}
    if get_origin(hint) is Literal:
        return {"type": click.Choice(list(get_args(hint)))}
    return {"metavar": METAVARS.get(name, "VALUE")}


def _value(name: str, value: Any) -> Any:
    """Give a number for what is one; what is none is refused with the other settings."""
    kinds = str(get_type_hints(Config)[name])
    if isinstance(value, tuple):
        return list(value)
    if value == "null" and "None" in kinds:
        return None
    if isinstance(value, str) and "int" in kinds and "str" not in kinds:
        try:
            return int(value)
        except ValueError:
            return value
    return value
