"""The API of plugins: import it as `from lbcproxy.plugin import Plugin, Drop`.

A plugin is a file with a subclass of `Plugin`. Each session has its own instance, so a plugin can
keep what it remembers of a session in `self`. Hooks are methods, found by their names:

    on_start(self, session)                 a client has connected
    on_handshake(self, session)             both nodes have finished the handshake
    on_<command>(self, session, message)    a message of that command: `on_inv`, `on_tx`
    on_message(self, session, message)      any message
    on_error(self, session, message)        any message with something wrong: `message.error`
    on_end(self, session, why)              the session is over

Each may be `async`. What a hook for messages returns decides what happens to the message: None lets
it pass; otherwise return `Drop`, `Replace`, `Delay`, `Inject`, `Close`, or a list of them. Only
messages that have a hook are held and decoded; all others pass as if there were no plugin. A plugin
whose commands are a setting has a method `asks_for(self)` that returns those `on_message` is for.

Annotated attributes with a default are settings, checked when the plugin is loaded:

    class Slow(Plugin):
        seconds: float = 2.0

        def on_inv(self, session, message):
            return Delay(self.seconds)
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import ClassVar, cast

import msgspec

from lbcproxy.deprecated import renamed_parameters
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
    """A setting that a plugin does not have, or a wrong value; the message says which."""


class Plugin:
    """The base class of all plugins; the docstring of `lbcproxy.plugins.api` describes hooks."""


@renamed_parameters(kind="plugin")
def settings_of(plugin: type[Plugin]) -> Iterator[tuple[str, object, object]]:
    """Return the name, type and default of each setting of a plugin."""
    for name, hint in typing.get_type_hints(plugin, include_extras=True).items():
        if not name.startswith("_") and typing.get_origin(hint) is not ClassVar:
            yield name, hint, getattr(plugin, name, NO_DEFAULT)


@renamed_parameters(kind="plugin_class")
def make(plugin_class: type[Plugin], values: Mapping[str, object]) -> Plugin:
    """Return an instance of a plugin with settings.

    Args:
        plugin_class: The plugin.
        values: Settings by name; strings are converted to the setting's type.

    Raises:
        BadSetting: The plugin has no such setting, or the value is wrong.
    """
    known = {name: (hint, default) for name, hint, default in settings_of(plugin_class)}
    for name in values:
        if name not in known:
            there = ", ".join(known) or "it has none"
            raise BadSetting(f"{plugin_class.__name__} has no setting {name!r}: {there}")
    plugin = plugin_class()
    for name, (hint, default) in known.items():
        if name not in values:
            if default is NO_DEFAULT:
                raise BadSetting(f"{plugin_class.__name__} needs the setting {name!r}")
            continue
        try:
            value = msgspec.convert(values[name], cast("type[object]", hint), strict=False)
        except msgspec.ValidationError as error:
            raise BadSetting(f"{plugin_class.__name__}.{name}: {error}") from None
        setattr(plugin, name, value)
    return plugin
