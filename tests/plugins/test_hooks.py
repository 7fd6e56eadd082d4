"""The hooks of a plugin, and the messages that a chain of plugins asks for."""

import pytest

from lbcproxy.plugins.hooks import BadHook, Hooks, PluginChain, PluginHealth
from tests.plugins.builders import plugin

ALL = {
    f"on_{name}": lambda self, session, message, name=name: name
    for name in ("ping", "inv", "message", "error")
}


def called(hooks, command, *, error=False):
    """Return what the hooks for a message answer."""
    return [hook(None, None) for hook in hooks.for_message(command, error=error)]


def asking(*commands, **attributes):
    """Return a plugin whose `on_message` is for these commands."""
    return plugin(asks_for=lambda self: list(commands), **attributes)


def test_hooks_are_called_from_the_special_to_the_general():
    """That of the command, then that for all, then that for errors."""
    hooks = Hooks("P", plugin(**ALL))
    assert called(hooks, "ping") == ["ping", "message"]
    assert called(hooks, "ping", error=True) == ["ping", "message", "error"]
    assert called(hooks, "tx") == ["message"]
    assert hooks.commands is None
    assert hooks.wants_errors


def test_the_commands_of_a_plugin_are_those_of_its_hooks():
    """And those that `asks_for` names; events and errors are no commands."""
    event = {"on_start": lambda self, session: None}
    named = {"on_ping": ALL["on_ping"], "on_inv": ALL["on_inv"]}
    assert Hooks("P", plugin(**event, **named)).commands == {"ping", "inv"}
    assert Hooks("P", plugin(**event)).commands == frozenset()
    assert not Hooks("P", plugin(**named)).wants_errors
    assert Hooks("P", plugin(on_error=ALL["on_error"])).commands is None
    hooks = Hooks("P", asking("tx", "inv", on_ping=ALL["on_ping"], on_message=ALL["on_message"]))
    assert hooks.commands == {"ping", "tx", "inv"}
    assert called(hooks, "tx") == ["message"]
    assert called(hooks, "ping") == ["ping"]
    assert Hooks("P", plugin(asks_for=lambda self: None, **ALL)).commands is None
    assert Hooks("P", asking("tx", on_error=ALL["on_error"])).commands is None


def test_the_third_stall_disables_a_plugin():
    """Its health is that of all sessions."""
    health = PluginHealth()
    event = {"on_start": lambda self, session: None}
    one, other = Hooks("P", plugin(**ALL, **event), health), Hooks("P", plugin(**ALL), health)
    assert [health.record_stall() for _ in range(2)] == [False, False]
    assert health.enabled
    assert called(other, "ping") == ["ping", "message"]
    assert one.event("start") is not None
    assert one.event("end") is None
    assert health.record_stall()
    assert not health.enabled
    assert called(other, "ping") == []
    assert one.event("start") is None


def test_a_plugin_has_a_health_and_a_timeout_of_its_own():
    """Unless it is given one."""
    hooks = Hooks("P", plugin(hook_timeout=5))
    assert (hooks.name, hooks.timeout, hooks.origin, hooks.settings) == ("P", 5, None, {})
    assert hooks.health.enabled
    assert Hooks("P", plugin()).timeout is None


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"on_pign": None}, r"Tried\.on_pign is not a hook: is on_ping meant\?"),
        ({"on_zebra_crossing": None}, "is not a hook, and there is no such command"),
        ({"on_ping": 7}, r"Tried\.on_ping is not a method"),
        ({"on_ping": lambda self: 0}, r"Tried\.on_ping must take \(self, session, message\)"),
        ({"on_end": lambda self, session: 0}, r"must take \(self, session, why\)"),
        ({"asks_for": lambda self: "ping"}, r"Tried\.asks_for must return commands, not 'ping'"),
        ({"asks_for": lambda self: ["ping", 1]}, "must return commands"),
        ({"asks_for": lambda self: ["pign"]}, r"no command 'pign': is ping meant\?"),
        ({"asks_for": lambda self: ["zebra crossing"]}, "no command 'zebra crossing'$"),
    ],
)
def test_a_misspelt_hook_is_an_error(attributes, words):
    """It would never be called, and nobody would know."""
    with pytest.raises(BadHook, match=words):
        Hooks("P", plugin(**attributes))


def test_only_names_that_begin_with_on_are_hooks():
    """A plugin may have attributes of any other name, and hooks of commands without a record."""
    hooks = Hooks("P", plugin(count=1, zebra_on_=2, on_alert=lambda self, session, message: "a"))
    assert called(hooks, "alert") == ["a"]


async def waits(self, session, message):
    """Wait for nothing."""


def test_a_chain_asks_for_what_any_of_its_plugins_asks_for():
    """If one asks for everything, so does the chain."""
    ping = Hooks("P", plugin(on_ping=ALL["on_ping"]))
    inv = Hooks("I", plugin(on_inv=waits))
    chain = PluginChain([ping, inv])
    assert chain.commands == {"ping", "inv"}
    assert not chain.wants_errors
    assert [chain.asks_for(each, error=False) for each in ("ping", "inv", "tx")] == [
        True,
        True,
        False,
    ]
    assert [chain.is_async(each, error=False) for each in ("ping", "inv", "tx")] == [
        False,
        True,
        False,
    ]
    errors = PluginChain([ping, Hooks("E", plugin(on_error=waits))])
    assert errors.commands is None
    assert errors.wants_errors
    assert [errors.asks_for("tx", error=each) for each in (False, True)] == [False, True]
    assert [errors.is_async("ping", error=each) for each in (False, True)] == [False, True]
    assert PluginChain([]).commands == frozenset()
