"""What a plugin is asked: its hooks, found by the names of its methods."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from lbcproxy.wire.registry import OPAQUE, commands

__all__ = ["EVENTS", "BadHook", "Chain", "Hook", "Hooks", "Standing"]

MOST_BREACHES = 3

Hook: TypeAlias = Callable[..., Any]

ARGUMENTS = {"start": ("session",), "handshake": ("session",), "end": ("session", "why")}
EVENTS = tuple(ARGUMENTS)
"""What a plugin is told of a session, besides messages."""
MESSAGES = ("message", "error")
"""What it is asked of every message, and of each with something wrong."""


class BadHook(TypeError):
    """A method that looks like a hook and is none; the text says what might be meant."""


class Standing:
    """How a plugin stands, over all sessions."""

    def __init__(self) -> None:
        self.asked = True
        """Whether it is asked at all."""
        self._breaches = 0

    def breach(self) -> bool:
        """Take note that it kept all sessions waiting; True if that was once too often."""
        self._breaches += 1
        self.asked = self._breaches < MOST_BREACHES
        return not self.asked


class Hooks:
    """The hooks of one plugin in one session; `standing` is that of the plugin in all."""

    def __init__(self, name: str, plugin: object, standing: Standing | None = None) -> None:
        self.name = name
        self.plugin = plugin
        self.standing = standing or Standing()
        self.origin: object = None
        """Where it was loaded from: what has the same is the same plugin."""
        self.settings: Mapping[str, Any] = {}
        """The settings that it was loaded with."""
        self.patience: float | None = getattr(plugin, "patience", None)
        """Seconds that its hooks may wait, if not as long as all others'."""
        self._by_name = dict(_hooks(plugin))
        self._only = _only(plugin)

    def event(self, name: str) -> Hook | None:
        """Give the hook for an event."""
        return self._by_name.get(name) if self.standing.asked else None

    def of(self, command: str, *, error: bool) -> Sequence[Hook]:
        """Give the hooks that are asked of a message, in order."""
        if not self.standing.asked:
            return ()
        names = [command]
        if self._only is None or command in self._only:
            names.append("message")
        if error:
            names.append("error")
        return [self._by_name[name] for name in names if name in self._by_name]

    @property
    def commands(self) -> frozenset[str] | None:
        """The commands it asks for; None for all."""
        if "error" in self._by_name or ("message" in self._by_name and self._only is None):
            return None
        named = frozenset(self._by_name.keys() - {*EVENTS, *MESSAGES})
        return named | self._only if self._only is not None else named

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
            near = difflib.get_close_matches(name, known, 1)
            meant = f": is on_{near[0]} meant?" if near else ", and no command is called so"
            raise BadHook(f"{where} is no hook{meant}")
        hook = getattr(plugin, attribute)
        if not callable(hook):
            raise BadHook(f"{where} is no method")
        arguments = ARGUMENTS.get(name, ("session", "message"))
        try:
            inspect.signature(hook).bind(*arguments)
        except TypeError:
            raise BadHook(f"{where} must take (self, {', '.join(arguments)})") from None
        yield name, hook


def _only(plugin: object) -> frozenset[str] | None:
    """Give the commands that `on_message` is for, if the plugin says so."""
    asks_for = getattr(plugin, "asks_for", None)
    if asks_for is None:
        return None
    found = asks_for()
    if found is None:
        return None
    if isinstance(found, str) or not all(isinstance(each, str) for each in found):
        raise BadHook(f"{type(plugin).__name__}.asks_for must give commands, not {found!r}")
    known = {*commands(), *OPAQUE}
    for each in found:
        if each not in known:
            near = difflib.get_close_matches(each, known, 1)
            raise BadHook(f"no command {each!r}" + (f": is {near[0]} meant?" if near else ""))
    return frozenset(found)


class Chain:
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
        """Whether any of them asks for all that is malformed."""
        return any(plugin.wants_errors for plugin in self.plugins)

    def asked(self, command: str, *, error: bool) -> bool:
        """Whether any of them asks for a message."""
        return any(plugin.of(command, error=error) for plugin in self.plugins)

    def waits(self, command: str, *, error: bool) -> bool:
        """Whether any of those that ask for it may wait for something else."""
        return any(
            inspect.iscoroutinefunction(hook)
            for plugin in self.plugins
            for hook in plugin.of(command, error=error)
        )
