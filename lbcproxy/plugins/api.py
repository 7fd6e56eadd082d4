"""What a plugin is written with: `from lbcproxy.plugins.api import Plugin, Drop`.

A plugin is a file with a subclass of `Plugin`. There is an instance for each session, so what a
session is remembered by is kept in `self`. Hooks are methods found by their names:

    on_start(self, session)                 a client has connected
    on_handshake(self, session)             both nodes have finished the handshake
    on_<command>(self, session, message)    a message of that command: `on_inv`, `on_tx`
    on_message(self, session, message)      any message
    on_error(self, session, message)        any message with something wrong: `message.error`
    on_end(self, session, why)              the session is over

Each may be `async`. What a hook for messages returns says what becomes of the message: None lets
it pass; `Drop`, `Replace`, `Delay`, `Inject`, `Close`, or a list of them. Only messages that are
asked for are held and read; all others pass as if there were no plugin. A plugin whose commands
are a setting has `asks_for(self)`, which gives those that `on_message` is for.

Annotated attributes with a default are settings, checked when the plugin is loaded:

    class Slow(Plugin):
        seconds: float = 2.0

        def on_inv(self, session, message):
            return Delay(self.seconds)
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from lbcproxy.plugins.session_view import LiveSession
from lbcproxy.plugins.verdicts import (
    Close,
    Delay,
    Drop,
    Inject,
    Raw,
    Replace,
    Sendable,
    Verdict,
)
from lbcproxy.session import Direction, Message

__all__ = [
    "BadSetting",
    "Close",
    "Delay",
    "Direction",
    "Drop",
    "Inject",
    "LiveSession",
    "Message",
    "Plugin",
    "Raw",
    "Replace",
    "Sendable",
    "Verdict",
    "make",
    "settings_of",
]

NO_DEFAULT = object()


class BadSetting(ValueError):
    """A setting that a plugin does not have, or a value it cannot have; the text says which."""


class Plugin:
    """Base of all plugins; see the top of this module."""


def settings_of(kind: type[Plugin]) -> Iterator[tuple[str, Any, Any]]:
    """Give the name, type and default of each setting of a plugin."""
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if not name.startswith("_") and typing.get_origin(hint) is not ClassVar:
            yield name, hint, getattr(kind, name, NO_DEFAULT)


def make(kind: type[Plugin], values: Mapping[str, Any]) -> Plugin:
    """Make an instance with settings; raises BadSetting."""
    known = {name: (hint, default) for name, hint, default in settings_of(kind)}
    for name in values:
        if name not in known:
            there = ", ".join(known) or "it has none"
            raise BadSetting(f"{kind.__name__} has no setting {name!r}: {there}")
    plugin = kind()
    for name, (hint, default) in known.items():
        if name not in values:
            if default is NO_DEFAULT:
                raise BadSetting(f"{kind.__name__} needs the setting {name!r}")
            continue
        try:
            value = msgspec.convert(values[name], hint, strict=False)
        except msgspec.ValidationError as error:
            raise BadSetting(f"{kind.__name__}.{name}: {error}") from None
        setattr(plugin, name, value)
    return plugin
