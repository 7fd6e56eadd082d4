"""Plugin files: found, checked before any session, loaded again."""

import os
import sys
import traceback

import pytest

from lbcproxy.plugins.loader import (
    BadPlugin,
    PluginFile,
    PluginSpec,
    chain_of,
    describe_error,
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


COUNTING = "class {name}(Plugin):\n  n: int = 1\n  def on_{hook}(self, s, m): return None\n"


def test_a_plugin_that_is_loaded_again_is_healthy(tmp_path):
    """What blocked all sessions may have been repaired."""
    one = loaded(written(tmp_path, COUNTING.format(name="P", hook="ping")))
    for _ in range(3):
        one.health.record_stall()
    assert one.hooks()[0].event("start") is None
    assert not one.hooks()[0].health.enabled
    one.reload()
    assert one.hooks()[0].health.enabled
    assert one.hooks()[0].health is one.hooks()[0].health


def test_plugins_without_a_predecessor_begin_again_and_the_others_go_on(tmp_path):
    """Whatever their order; each predecessor has one successor."""
    first = COUNTING.format(name="First", hook="ping")
    second = COUNTING.format(name="Second", hook="pong")
    path = written(tmp_path, second)
    one = loaded(path)
    chain = chain_of([one, one])
    for number, hooks in enumerate(chain.plugins):
        hooks.plugin.seen = number
    path.write_text(HEAD + first + second)
    one.reload()
    new = [each.plugin for each in reloaded_chain(chain, [one, one]).plugins]
    assert [type(each).__name__ for each in new] == ["First", "Second"] * 2
    assert [vars(each).get("seen") for each in new] == [None, 0, None, 1]
    third = [each.plugin for each in reloaded_chain(chain, [one, one, one]).plugins]
    assert [vars(each).get("seen") for each in third] == [None, 0, None, 1, None, None]


def test_a_plugin_of_the_same_settings_is_the_predecessor(tmp_path):
    """Only one of other settings is there otherwise, and what has changed is not copied."""
    path = written(tmp_path, COUNTING.format(name="P", hook="ping"))
    chain = chain_of([loaded(path, n=1), loaded(path, n=2)])
    for number, hooks in enumerate(chain.plugins, 1):
        hooks.plugin.seen = number
    [two, other] = [
        each.plugin
        for each in reloaded_chain(chain, [loaded(path, n=2), loaded(path, n=3)]).plugins
    ]
    assert (two.n, two.seen) == (2, 2)
    assert (other.n, other.seen) == (3, 1)


SOMETIMES = """
class P(Plugin):
  made = 0
  def __init__(self):
    P.made += 1
    if P.made in {fails}: raise ValueError("not now")
class Q(Plugin):
  pass
"""


@pytest.mark.parametrize("fails", [(2,), (3,), (2, 3)])
def test_a_plugin_that_could_not_be_made_leaves_nothing_to_its_successor(tmp_path, fails):
    """Nor does one that cannot be made take anything over; those after it do."""
    one = loaded(written(tmp_path, SOMETIMES.format(fails=fails)))
    chain = chain_of([one])
    for hooks in chain.plugins:
        hooks.plugin.seen = True
    failed, kept = [each.plugin for each in reloaded_chain(chain, [one]).plugins]
    assert "seen" not in vars(failed)
    assert kept.seen
    if 3 in fails:
        with pytest.raises(ValueError, match="not now"):
            failed.on_start(None)
        with pytest.raises(ValueError, match="not now"):
            failed.on_message(None, None)


def test_a_plugin_has_the_name_and_settings_of_its_file(tmp_path):
    """Log lines and captures have them."""
    path = written(tmp_path, COUNTING.format(name="P", hook="ping"), "my_file")
    one = loaded(path, n="3")
    [hooks] = one.hooks()
    assert (one.name, hooks.name, hooks.settings) == ("my_file", "my_file", {"n": "3"})
    assert hooks.origin == (path, "P")
    [other] = loaded(path).hooks()
    assert other.origin == hooks.origin


def test_a_spec_cannot_be_changed_and_a_bad_plugin_is_a_mistake_of_the_user():
    """The program ends with 2, as for a wrong option."""
    assert PluginSpec.__struct_config__.frozen
    assert BadPlugin.exit_code == 2


def test_a_plugin_is_a_python_file(tmp_path):
    """By its name, since its bytes could be anything."""
    path = tmp_path / "notes.txt"
    path.write_text(HEAD)
    with pytest.raises(BadPlugin, match=r"notes\.txt: is not a Python file"):
        loaded(path)


def test_a_helper_that_is_new_is_found(tmp_path):
    """Python remembers what is in a folder, until the time of the folder changes."""
    path = written(tmp_path, "from . import one\nclass P(Plugin): pass\n")
    (tmp_path / "one.py").write_text("")
    plugin = loaded(path)
    when = tmp_path.stat().st_mtime_ns
    (tmp_path / "two.py").write_text("NAME = 'ping'")
    os.utime(tmp_path, ns=(when, when))
    path.write_text(
        HEAD + "from . import two\nclass P(Plugin):\n  def asks_for(self): return [two.NAME]\n"
        "  def on_message(self, s, m): pass"
    )
    plugin.reload()
    assert chain_of([plugin]).commands == {"ping"}


def test_a_file_that_fails_leaves_no_module(tmp_path):
    """Neither its own nor those of its helpers."""
    before = plugin_modules()
    (tmp_path / "helper.py").write_text("")
    with pytest.raises(BadPlugin):
        loaded(written(tmp_path, "from . import helper\n1 / 0"))
    assert plugin_modules() == before


def plugin_modules():
    """Return the names of the modules of plugins and their helpers."""
    return {name for name in sys.modules if name.startswith("lbcproxy_plugin_")}


def test_after_a_failed_reload_the_annotations_of_the_loaded_plugin_are_still_known(tmp_path):
    """They are looked up in its module, for each session."""
    text = 'Limit = int\nclass P(Plugin):\n  limit: "Limit" = 1\n'
    path = written(tmp_path, text)
    one = loaded(path, limit="5")
    path.write_text("1 / 0")
    with pytest.raises(BadPlugin):
        one.reload()
    [hooks] = one.hooks()
    assert hooks.plugin.limit == 5


def test_an_error_is_described_by_the_line_of_the_plugin(tmp_path):
    """Not by that of a library it has called, unless no plugin is given."""
    path = written(tmp_path, "import json\nclass P(Plugin): pass\njson.loads('{')")
    with pytest.raises(BadPlugin, match=r"JSONDecodeError: .* \(line 4\)$") as caught:
        loaded(path)
    error = caught.value.__cause__
    assert describe_error(error).endswith(f"(line {last(error)})")
    assert describe_error(ValueError("no")) == "ValueError: no"
    assert describe_error(ValueError("no"), path) == "ValueError: no"


def last(error):
    """Return the line at which an exception was raised."""
    return traceback.extract_tb(error.__traceback__)[-1].lineno
