"""The hooks of a plugin, found by the names of its methods."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from lbcproxy.wire.registry import OPAQUE, commands

__all__ = ["EVENTS", "BadHook", "Hook", "Hooks", "PluginChain", "PluginHealth"]

MAX_STALLS = 3

Hook: TypeAlias = Callable[..., Any]

ARGUMENTS = {"start": ("session",), "handshake": ("session",), "end": ("session", "why")}
EVENTS = tuple(ARGUMENTS)
"""The events of a session that have hooks, besides messages."""
MESSAGES = ("message", "error")
"""Hooks for every message, and for every message with something wrong."""


class BadHook(TypeError):
    """A method that looks like a hook and is not; the message says what might be meant."""


class PluginHealth:
    """Whether a plugin behaves, over all sessions."""

    def __init__(self) -> None:
        self.enabled = True
        """Whether its hooks are called at all."""
        self._stalls = 0

    def record_stall(self) -> bool:
        """Record that a hook blocked all sessions; return True if that disables the plugin."""
        self._stalls += 1
        self.enabled = self._stalls < MAX_STALLS
        return not self.enabled


class Hooks:
    """The hooks of one plugin in one session; `health` is that of the plugin in all sessions."""

    def __init__(self, name: str, plugin: object, health: PluginHealth | None = None) -> None:
        self.name = name
        self.plugin = plugin
        self.health = health or PluginHealth()
        self.origin: object = None
        """Where it was loaded from; equal for the same plugin."""
        self.settings: Mapping[str, object] = {}
        """The settings that it was loaded with."""
        self.timeout: float | None = getattr(plugin, "hook_timeout", None)
        """Seconds that its `async` hooks may take, if that differs from all other plugins."""
        self._by_name = dict(_hooks(plugin))
        self._requested = _requested_commands(plugin)

    def event(self, name: str) -> Hook | None:
        """Return the hook for an event; None if there is none."""
        return self._by_name.get(name) if self.health.enabled else None

    def for_message(self, command: str, *, error: bool) -> Sequence[Hook]:
        """Return the hooks that are called with a message, in order.

        Args:
            command: The message's command.
            error: Whether something is wrong with the message.
        """
        if not self.health.enabled:
            return ()
        names = [command]
        if self._requested is None or command in self._requested:
            names.append("message")
        if error:
            names.append("error")
        return [self._by_name[name] for name in names if name in self._by_name]

    @property
    def commands(self) -> frozenset[str] | None:
        """The commands that it asks for; None for all."""
        requested = self._requested
        if "error" in self._by_name or ("message" in self._by_name and requested is None):
            return None
        named = frozenset(self._by_name.keys() - {*EVENTS, *MESSAGES})
        return named if requested is None else named | requested

    @property
    def wants_errors(self) -> bool:
        """Whether it must be known of each message if something is wrong with it."""
        return "error" in self._by_name


def _hooks(plugin: object) -> Iterator[tuple[str, Hook]]:
    known = {*EVENTS, *MESSAGES, *commands(), *OPAQUE}
    for attribute in dir(type(plugin)):
        if not attribute.startswith("on_"):
            continue
        name = attribute.removeprefix("on_")
        where = f"{type(plugin).__name__}.{attribute}"
        if name not in known:
            near = difflib.get_close_matches(name, known)
            meant = f": is on_{near[0]} meant?" if near else ", and there is no such command"
            raise BadHook(f"{where} is not a hook{meant}")
        hook = getattr(plugin, attribute)
        if not callable(hook):
            raise BadHook(f"{where} is not a method")
        arguments = ARGUMENTS.get(name, ("session", "message"))
        try:
            inspect.signature(hook).bind(*arguments)
        except TypeError:
            raise BadHook(f"{where} must take (self, {', '.join(arguments)})") from None
        yield name, hook


def _requested_commands(plugin: object) -> frozenset[str] | None:
    """Return the commands that `on_message` is for, if the plugin has `asks_for`."""
    asks_for = getattr(plugin, "asks_for", None)
    if asks_for is None:
        return None
    found = asks_for()
    if found is None:
        return None
    if isinstance(found, str) or not all(isinstance(each, str) for each in found):
        raise BadHook(f"{type(plugin).__name__}.asks_for must return commands, not {found!r}")
    known = {*commands(), *OPAQUE}
    for each in found:
        if each not in known:
            near = difflib.get_close_matches(each, known)
            raise BadHook(f"no command {each!r}" + (f": is {near[0]} meant?" if near else ""))
    return frozenset(found)


class PluginChain:
    """The plugins of one session, in order."""

    def __init__(self, plugins: Sequence[Hooks]) -> None:
        self.plugins = list(plugins)

    @property
    def commands(self) -> frozenset[str] | None:
        """The commands that any of them asks for; None for all."""
        found: set[str] = set()
        for plugin in self.plugins:
            if plugin.commands is None:
                return None
            found |= plugin.commands
        return frozenset(found)

    @property
    def wants_errors(self) -> bool:
        """Whether any of them asks for all malformed messages."""
        return any(plugin.wants_errors for plugin in self.plugins)

    def asks_for(self, command: str, *, error: bool) -> bool:
        """Return whether any of them has a hook for a message."""
        return any(plugin.for_message(command, error=error) for plugin in self.plugins)

    def is_async(self, command: str, *, error: bool) -> bool:
        """Return whether any of the hooks for a message is `async`."""
        return any(
            inspect.iscoroutinefunction(hook)
            for plugin in self.plugins
            for hook in plugin.for_message(command, error=error)
        )
