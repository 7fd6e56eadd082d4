"""Plugin files: found, checked before any session, loaded again."""

import os

import pytest

from lbcproxy.plugins.loader import (
    BadPlugin,
    PluginFile,
    PluginSpec,
    chain_of,
    parse_spec,
    reloaded_chain,
)

HEAD = "from lbcproxy.plugin import *\n"


def written(tmp_path, text, name="mine"):
    path = tmp_path / f"{name}.py"
    path.write_text(HEAD + text)
    return path


def loaded(path, **settings):
    return PluginFile(PluginSpec(str(path), settings))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class P(Plugin):\n  def on_pign(self, session, message): pass", "is on_ping meant?"),
        ("class P(Plugin):\n  def on_zebra_crossing(self, s, m): pass", "there is no such command"),
        ("class P(Plugin):\n  def on_ping(self, session): pass", "must take (self, session, mess"),
        ("class P(Plugin):\n  def on_start(self): pass", "must take (self, session)"),
        ("class P(Plugin):\n  on_ping = 7", "is not a method"),
        ("class P(Plugin):\n  def asks_for(self): return ['pign']", "is ping meant?"),
        ("class P(Plugin):\n  def asks_for(self): return 'ping'", "must return commands"),
        (
            "class P(Plugin):\n  def __init__(self): 1 / 0",
            "division by zero (line 3)",
        ),
        ("class P(Plugin:\n  pass", "SyntaxError"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("x = 1", "has no subclass of lbcproxy.plugin.Plugin"),
        ("class P(Plugin):\n  n: int", "needs the setting 'n'"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_loaded(tmp_path, text, words):
    """With the file's name, before any traffic."""
    path = written(tmp_path, text)
    with pytest.raises(BadPlugin) as caught:
        loaded(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n": "many"}, "P.n: Expected `int`"),
        ({"n": 0}, "P.n: Expected `int` >= 1"),
        ({"m": 1}, "has no setting 'm': n, how"),
        ({"how": "c"}, "P.how: Invalid enum value 'c'"),
    ],
)
def test_settings_are_checked(tmp_path, settings, words):
    """As those of the config."""
    text = (
        "from typing import Annotated, Literal\nfrom msgspec import Meta\nclass P(Plugin):\n"
        "  n: Annotated[int, Meta(ge=1)] = 1\n  how: Literal['a', 'b'] = 'a'\n"
    )
    with pytest.raises(BadPlugin) as caught:
        loaded(written(tmp_path, text), **settings)
    assert words in str(caught.value)
    [hooks] = loaded(written(tmp_path, text), n="5").hooks()
    assert (hooks.plugin.n, hooks.plugin.how) == (5, "a")


def test_a_spec_is_a_file_and_settings():
    """As a shell would split it."""
    spec = parse_spec("'my file.py' n=5 words='a b'")
    assert spec == PluginSpec("my file.py", {"n": "5", "words": "a b"})
    with pytest.raises(BadPlugin, match="is not NAME=VALUE"):
        parse_spec("x.py 5")


def test_a_file_that_is_not_there_is_said_with_those_that_are():
    """Names of shipped ones help."""
    with pytest.raises(BadPlugin, match="slow_inventory"):
        PluginFile(PluginSpec("slow_inventroy"))
    assert PluginFile(PluginSpec("slow-inventory")).name == "slow_inventory"


def test_each_session_has_its_own_instance(tmp_path):
    """State is the instance's."""
    one = loaded(written(tmp_path, "class P(Plugin):\n  pass"))
    first, second = one.hooks()[0].plugin, one.hooks()[0].plugin
    assert type(first) is type(second)
    assert first is not second


def test_a_changed_file_is_loaded_again_and_sessions_keep_what_they_know(tmp_path):
    """Also within the same second; what is broken leaves what was there."""
    path = written(tmp_path, "class P(Plugin):\n  def on_ping(self, s, m): return None")
    one = loaded(path)
    chain = chain_of([one])
    chain.plugins[0].plugin.count = 7
    assert chain.commands == {"ping"}
    assert not one.has_changed()
    path.write_text(HEAD + "class P(Plugin):\n  def on_pong(self, s, m): return Drop()")
    os.utime(path, ns=(1, 1))
    assert one.has_changed()
    one.reload()
    assert not one.has_changed()
    new = reloaded_chain(chain, [one])
    assert new.commands == {"pong"}
    assert new.plugins[0].plugin.count == 7
    path.write_text("class (")
    os.utime(path, ns=(2, 2))
    with pytest.raises(BadPlugin, match="SyntaxError"):
        one.reload()
    assert not one.has_changed()
    assert chain_of([one]).commands == {"pong"}
