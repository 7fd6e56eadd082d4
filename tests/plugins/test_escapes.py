"""Whatever comes out of a plugin's code costs that plugin its say, and nobody else anything."""

import asyncio
import os
import signal

import pytest

from lbcproxy.plugin import Drop, Plugin
from lbcproxy.plugins.loader import BadPlugin, PluginFile, PluginSpec, chain_of, reloaded_chain
from lbcproxy.plugins.pipeline import CLOSED, OPEN
from lbcproxy.testing import Trial
from lbcproxy.wire.messages.keepalive import Ping

HEAD = "from lbcproxy.plugin import *\n"


class Own(BaseException):
    """Not an Exception, as those of test runners are."""


class Wordless(Exception):
    """An exception that cannot be written."""

    def __str__(self) -> str:
        raise SystemExit(3)


ESCAPES = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, Own, Wordless]


def plugin(**hooks):
    return type("Tried", (Plugin,), hooks)()


def raising(error, *, waits):
    """Make a hook that raises."""

    def at_once(self, *arguments):
        raise error

    async def later(self, session, *arguments):
        await session.sleep(1)
        raise error

    return later if waits else at_once


@pytest.mark.parametrize(("policy", "verdict"), [(OPEN, "pass"), (CLOSED, "drop")])
@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("error", ESCAPES)
def test_what_a_hook_raises_is_named_and_the_traffic_goes_on(error, waits, policy, verdict):
    """SystemExit and the like are no way out of the proxy."""
    trial = Trial(plugin(on_ping=raising(error, waits=waits)), policy=policy)
    for number in (1, 2):
        trial.to_upstream(Ping(number))
        trial.advance(1)
        assert trial.entries[-1].verdict == verdict
        assert len(trial.complaints) == number
        assert trial.complaints[-1].startswith("plugin Tried: ")
        assert error.__name__ in trial.complaints[-1]


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("event", ["start", "handshake", "end"])
@pytest.mark.parametrize("error", ESCAPES)
def test_what_a_hook_for_events_raises_is_named(error, event, waits):
    """Other plugins are still called; an `on_end` that fails does not keep the session open."""
    calls = []
    other = plugin(**{f"on_{event}": lambda self, *arguments: calls.append(event)})
    trial = Trial(plugin(**{f"on_{event}": raising(error, waits=waits)}), other)
    if event == "end":
        trial.pipeline.end("over")
    trial.advance(1)
    assert calls == [event]
    assert any(error.__name__ in words for words in trial.complaints)
    assert trial.to_upstream(Ping(1)) == "pass"


@pytest.mark.parametrize("error", ESCAPES)
def test_what_a_call_for_later_raises_is_named(error):
    """It runs from the reactor, where an exit would be nobody's."""

    def on_ping(self, session, message):
        session.later(1, lambda: raising(error, waits=False)(self))

    trial = Trial(plugin(on_ping=on_ping))
    trial.to_upstream(Ping(1))
    trial.advance(1)
    assert error.__name__ in trial.complaints[0]


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("place", ["on_ping", "on_start", "on_end"])
def test_ctrl_c_while_a_plugin_runs_means_the_program(place, waits):
    """Nobody could end a program over a file otherwise."""

    def press(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1_000_000):
            pass

    async def press_and_wait(self, *arguments):
        press(self)

    def session():
        trial = Trial(plugin(**{place: press_and_wait if waits else press}))
        trial.to_upstream(Ping(1))
        trial.pipeline.end("over")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            session()
    finally:
        signal.signal(signal.SIGINT, before)


def written(folder, text, name="mine"):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(HEAD + text)
    return path


def loaded(path, **settings):
    return PluginFile(PluginSpec(str(path), settings))


BAD = {
    "at import": "raise {error}\nclass P(Plugin): pass",
    "when it is made": "class P(Plugin):\n  def __init__(self): raise {error}",
    "when it is asked for commands": "class P(Plugin):\n  def asks_for(self): raise {error}",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("error", ["SystemExit(1)", "KeyboardInterrupt", "GeneratorExit", "E()"])
def test_a_file_that_raises_is_a_bad_plugin_and_what_was_loaded_stays(tmp_path, text, error):
    """By its name, at the start as when it is loaded again."""
    bad = "class E(BaseException): pass\n" + text.format(error=error)
    with pytest.raises(BadPlugin, match=r"mine\.py: .*\(line \d"):
        loaded(written(tmp_path, bad))
    path = written(tmp_path, "class P(Plugin):\n  def on_ping(self, s, m): return Drop()")
    one = loaded(path)
    path.write_text(HEAD + bad)
    with pytest.raises(BadPlugin, match=r"mine\.py"):
        one.reload()
    assert chain_of([one]).commands == {"ping"}
    path.write_text(HEAD + "class P(Plugin):\n  def on_pong(self, s, m): return Drop()")
    one.reload()
    assert chain_of([one]).commands == {"pong"}


@pytest.mark.parametrize(("policy", "verdict"), [(OPEN, "pass"), (CLOSED, "drop")])
def test_a_plugin_that_cannot_be_made_for_a_session_fails_in_it(tmp_path, policy, verdict):
    """Others of the chain are at work; without a guard nothing passes that must not."""
    path = written(
        tmp_path,
        "class P(Plugin):\n  made = 0\n  def __init__(self):\n    P.made += 1\n"
        "    if P.made > 1: raise SystemExit('no more')",
    )
    calls = []
    chain = chain_of([loaded(path)])
    [failed] = [each.plugin for each in chain.plugins]
    other = plugin(on_start=lambda self, session: calls.append(1))
    trial = Trial(failed, other, policy=policy)
    assert calls == [1]
    assert "no more" in trial.complaints[0]
    trial.to_upstream(Ping(1))
    assert trial.entries[-1].verdict == verdict


GUARD = """
Limit = {kind}
class Guard(Plugin):
    limit: "Limit" = {default}
    def on_ping(self, session, message):
        return Drop(repr(self.limit))
"""


def test_two_files_of_one_name_have_nothing_in_common(tmp_path):
    """Their settings are read by their own annotations, whichever was loaded last."""
    first = loaded(written(tmp_path / "a", GUARD.format(kind="int", default=1), "guard"), limit="5")
    second = loaded(
        written(tmp_path / "b", GUARD.format(kind="str", default="'x'"), "guard"), limit="5"
    )
    for _ in range(2):
        chain = chain_of([first, second])
        assert [each.plugin.limit for each in chain.plugins] == [5, "5"]
        first.reload()
    chain.plugins[0].plugin.seen, chain.plugins[1].plugin.seen = "first", "second"
    new = reloaded_chain(chain, [second, first])
    assert [(each.plugin.limit, each.plugin.seen) for each in new.plugins] == [
        ("5", "second"),
        (5, "first"),
    ]


def test_one_file_with_two_settings_is_two_plugins(tmp_path):
    """A session keeps what each of them knows, and a setting that changes does change."""
    path = written(tmp_path, GUARD.format(kind="int", default=1))
    one, two = loaded(path, limit=1), loaded(path, limit=2)
    chain = chain_of([one, two])
    chain.plugins[0].plugin.seen, chain.plugins[1].plugin.seen = "one", "two"
    for order, limits in (((one, two), (1, 2)), ((two, one), (2, 1))):
        new = reloaded_chain(chain, order)
        assert tuple(each.plugin.limit for each in new.plugins) == limits
        assert [each.plugin.seen for each in new.plugins] == [
            {1: "one", 2: "two"}[each] for each in limits
        ]
    [changed] = reloaded_chain(chain_of([one]), [loaded(path, limit=7)]).plugins
    assert changed.plugin.limit == 7


def test_helpers_beside_a_plugin_are_its_own(tmp_path):
    """`from . import helper`, by the same name in two folders; a changed one is loaded again."""
    text = "from . import helper\nclass P(Plugin):\n  def asks_for(self): return [helper.NAME]"
    text += "\n  def on_message(self, s, m): return Drop()"
    found = []
    for folder, command in (("a", "ping"), ("b", "pong")):
        path = written(tmp_path / folder, text)
        (tmp_path / folder / "helper.py").write_text(f"NAME = '{command}'")
        found.append(loaded(path))
    assert [chain_of([each]).commands for each in found] == [{"ping"}, {"pong"}]
    assert not any(each.has_changed() for each in found)
    (tmp_path / "a" / "helper.py").write_text("NAME = 'mempool'")
    os.utime(tmp_path / "a" / "helper.py", ns=(10**18, 10**18))
    assert [each.has_changed() for each in found] == [True, False]
    found[0].reload()
    assert [chain_of([each]).commands for each in found] == [{"mempool"}, {"pong"}]
    assert not found[0].has_changed()


def test_a_drop_is_a_drop():
    """The tests above would see one."""
    assert Trial(plugin(on_ping=lambda self, s, m: Drop())).to_upstream(Ping(1)) == "drop"
