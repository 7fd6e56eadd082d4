"""Every setting as an option of `lbcproxy run`, made from its declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from lbcproxy.cli.options import add_options
from lbcproxy.config.settings import Config

__all__ = ["command", "override", "setting_options", "take_settings"]

F = TypeVar("F", bound=Callable[..., object])

ALIASES = {
    "record": ("-w", "--write"),
    "record_legs": ("--legs",),
    "plugins": ("-s", "--plugin"),
}
DEFINED_ELSEWHERE = ("proxies", "network", "magic", "signet_challenge")
"""Settings that are not options, or whose options several commands share."""
METAVARS = {
    "record": "FILE",
    "key_log": "FILE",
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
    """Print every setting with its help and default, as a working config file."""
    from lbcproxy.config import describe

    click.echo(describe(), nl=False)


def setting_options(command: F) -> F:
    """Add an option for each setting."""
    names = [name for name in Config.__struct_fields__ if name not in DEFINED_ELSEWHERE]
    hints = get_type_hints(Config, include_extras=True)
    options = []
    for name in names:
        hint, meta = get_args(hints[name])[:2]
        first_sentence = f"{meta.description.split('. ')[0].rstrip('.')}."
        options.append(click.option(*_flags(name, hint), help=first_sentence, **_kind(name, hint)))
    return add_options(command, options)


def take_settings(options: dict[str, Any]) -> dict[str, object]:
    """Remove the settings from the options of a command, and return those that were given."""
    names = [name for name in Config.__struct_fields__ if name in options]
    found = {name: options.pop(name) for name in names}
    return {name: _value(name, value) for name, value in found.items() if value not in (None, ())}


def override(values: Mapping[str, object], flags: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of a file with those of options in their place, in every proxy."""
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


def _flags(name: str, hint: object) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if bool in (hint, *get_args(hint)) and hint is not bool:
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    return [name, *ALIASES.get(name, ()), flag]


def _kind(name: str, hint: object) -> dict[str, Any]:
    """Return what makes a click option take the values of a type."""
    if hint is bool:
        return {"is_flag": True, "default": None}
    if bool in get_args(hint):
        return {"default": None}
    if get_origin(hint) is tuple:
        return {"multiple": True, "metavar": METAVARS[name]}
    if get_origin(hint) is Literal:
        return {"type": click.Choice(list(get_args(hint)))}
    return {"metavar": METAVARS.get(name, "VALUE")}


def _value(name: str, value: object) -> object:
    """Convert the text of a number; a malformed one is left to the checks of the config."""
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
