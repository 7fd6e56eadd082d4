"""Old public names still work, with a warning that names the new one."""

import contextlib
import inspect

import msgspec
import pytest

from lbcproxy import capture, faults, filters, networks, peer, plugin, replay, session, wire
from lbcproxy.deprecated import DeprecatedAttribute, deprecated_names, renamed_parameters
from lbcproxy.session import Direction, Message
from lbcproxy.testing import Trial
from lbcproxy.wire import Codec
from lbcproxy.wire.messages.keepalive import Ping
from tests.capture.changed_traffic import session_info

NETWORK = networks.get("lbry-regtest")

MODULES = {
    capture: {
        "BadPattern": "FilenamePatternError",
        "Keeping": "RetentionPolicy",
        "MOST_PEERS": "MAX_PEERS",
        "MOST_WAITING": "MAX_QUEUED",
        "Tidier": "Retention",
        "is_of": "involves_host",
    },
    faults: {
        "Chain": "FaultChain",
        "Kind": "ByteFault",
        "Meeting": "MessageFaultHook",
        "MessageKind": "MessageFault",
        "all_kinds": "byte_faults",
        "known_kinds": "fault_types",
        "message_kinds": "message_faults",
    },
    replay: {
        "Account": "ReplayStats",
        "Ignored": "IgnoredFields",
        "Policy": "UnansweredPolicy",
        "Report": "ComparisonReport",
    },
    session: {
        "Passage": "Delivery",
        "SessionFacts": "SessionInfo",
        "Side": "NodeState",
        "SideStatistics": "NodeStatistics",
    },
    wire: {"Item": "StreamItem"},
}

ATTRIBUTES = {
    capture.Capture: ("begin", "opened"),
    capture.CaptureFile: (
        *("abandon", "cut", "miss", "moved", "size", "write_whole", "written_ns"),
    ),
    capture.Loss: ("said",),
    capture.Recording: ("over",),
    faults.Fault: ("kind",),
    faults.FaultChain: ("held",),
    filters.Filter: ("meets",),
    replay.Comparison: ("add", "awaited", "take"),
    replay.Conversation: ("facts",),
    replay.Difference: ("place",),
    replay.ReplayServer: ("actor_gone", "looks", "new_actor"),
    replay.Turn: ("place",),
    session.Lost: ("words",),
    session.Session: (
        *("held", "injected", "leg_speaks", "legs_agreed", "let_go", "passes", "waits", "want"),
    ),
    session.SessionSummary: ("facts",),
    Trial: ("tell_passed",),
    wire.Framer: ("astray", "cut", "give", "held", "let_go", "passes"),
}

PARAMETERS = {
    capture.CaptureFile: ("told", "closed"),
    capture.Recording: ("told", "wanted", "closed"),
    capture.Rings: ("told", "bound", "closed"),
    peer.NonceCache: ("most",),
    plugin.make: ("kind",),
    plugin.settings_of: ("kind",),
    session.Session: ("wanted", "begins"),
    wire.Framer: ("begins", "apart", "whole"),
}


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [(module, *names) for module, table in MODULES.items() for names in table.items()],
)
def test_an_old_name_of_a_module_is_the_new_one(module, old, new):
    with pytest.warns(DeprecationWarning, match=rf"{module.__name__}\.{old} is now {new}"):
        assert getattr(module, old) is getattr(module, new)


def test_a_name_that_never_existed_is_an_attribute_error():
    with pytest.raises(AttributeError, match="lbcproxy.session' has no attribute 'Nothing'"):
        _ = session.Nothing


@pytest.mark.parametrize(
    ("owner", "old"), [(owner, old) for owner, names in ATTRIBUTES.items() for old in names]
)
def test_an_old_attribute_leads_to_one_that_exists(owner, old):
    alias = vars(owner)[old]
    assert isinstance(alias, DeprecatedAttribute)
    assert hasattr(owner, alias.new) or f"self.{alias.new}" in inspect.getsource(owner)


@pytest.mark.parametrize(
    ("owner", "old"), [(owner, old) for owner, names in PARAMETERS.items() for old in names]
)
def test_an_old_parameter_is_understood(owner, old):
    """The arguments that are missing are another matter."""
    with (
        pytest.warns(DeprecationWarning, match=f"the argument {old} is now "),
        contextlib.suppress(TypeError),
    ):
        owner(**{old: None})


def test_a_method_under_its_old_name_does_the_same():
    found = filters.parse("ping")
    ping = Message.of(Ping(1), Direction.TO_UPSTREAM, Codec(NETWORK))
    with pytest.warns(DeprecationWarning, match=r"Filter\.meets is now matches"):
        assert found.meets(ping, 1, session_info(1))


def test_the_session_of_an_entry_under_its_old_name():
    host = filters.parse('client == "127.0.0.1"')
    ping = Message.of(Ping(1), Direction.TO_UPSTREAM, Codec(NETWORK))
    entry = session.Entry(number=1, time_ns=1, session=1, direction=ping.direction, message=ping)
    with pytest.warns(DeprecationWarning, match="facts is now info"):
        assert host(entry, facts=session_info(1)) == host(entry, session_info(1))


def test_a_struct_has_its_old_field_and_no_more_fields():
    lost = session.Lost(messages=1)
    with pytest.warns(DeprecationWarning, match=r"Lost\.words is now description"):
        assert lost.words == lost.description
    assert msgspec.to_builtins(lost) == {"messages": 1}


def test_a_framer_configured_by_old_names():
    with pytest.warns(DeprecationWarning, match="the argument begins is now at_stream_start"):
        old = wire.Framer(NETWORK, begins=False)
    new = wire.Framer(NETWORK, at_stream_start=False)
    junk = b"no frame"
    assert [*old.feed(junk), *old.close()] == [*new.feed(junk), *new.close()]


def test_the_new_argument_wins_over_the_old_one():
    @renamed_parameters(old="new")
    def function(new):
        return new

    with pytest.warns(DeprecationWarning, match="the argument old is now new"):
        assert function(old=1, new=2) == 2
    assert function(3) == 3


def test_names_that_are_resolved_later_too():
    resolve = deprecated_names("lbcproxy.wire", {"Old": "Framer"})
    with pytest.warns(DeprecationWarning, match=r"lbcproxy\.wire\.Old is now Framer"):
        assert resolve("Old") is wire.Framer
