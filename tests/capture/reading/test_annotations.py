"""What lbcproxy left on a packet or a section; every value is checked."""

import msgspec
import pytest

from lbcproxy import networks
from lbcproxy.capture.packet import Section
from lbcproxy.capture.reading.annotations import (
    agreed_version,
    network_of,
    parse_annotations,
    section_header,
    stream_offsets,
    trail_of,
    with_host_names,
)
from lbcproxy.capture.tcp.stream_events import Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction

UP, DOWN = Direction


def parsed(**values):
    """Return what is read of some values."""
    text = msgspec.json.encode({"schema": "lbcproxy/1", **values}).decode()
    found = parse_annotations((text,))
    if found:
        assert found.pop("schema") == "lbcproxy/1"
    return found


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        *((key, "x", 1) for key in ("network", "legs", "leg", "upstream", "verdict")),
        *((key, True, 1) for key in ("changes", "continued", "unrecorded")),
        *((key, 3, "3") for key in ("session", "number", "missing")),
        *((key, ["x"], "x") for key in ("trail", "comments")),
        ("position", {"x": 1}, []),
    ],
)
def test_a_value_of_a_wrong_type_is_left_out(key, good, bad):
    """And no other value with it; what readers do not know they keep."""
    assert parsed(**{key: good, "more": 1}) == {key: good, "more": 1}
    assert parsed(**{key: bad, "more": None}) == {"more": None}


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "{}", '{"schema":"lbcproxy/2"}', "[" * 10**5])
def test_what_others_wrote_is_not_ours(text):
    """The first that is ours counts."""
    assert parse_annotations((text,)) == {}
    found = parse_annotations((text, '{"schema":"lbcproxy/1","number":1}', '{"schema":1}'))
    assert found["number"] == 1
    assert parse_annotations(()) == {}


def test_a_section_has_a_header():
    """With more values than readers know."""
    text = '{"schema":"lbcproxy/1","network":"n","legs":"both","changes":true,"name":"main"}'
    header = section_header(Section((text,), ("c",), 0))
    assert (header.network, header.legs, header.changes) == ("n", "both", True)
    assert (header.metadata, header.comments) == ({"name": "main"}, ("c",))
    header = section_header(Section(('{"schema":"lbcproxy/1","legs":"any"}',), (), 0))
    assert (header.network, header.legs, header.changes) == (None, "client", False)
    assert header.metadata == {}


@pytest.mark.parametrize(
    ("version", "agreed"),
    [(0, 0), (70_013, 70_013), ((1 << 32) - 1, (1 << 32) - 1)]
    + [(value, None) for value in (-1, 1 << 32, "70013", None, 1.5)],
)
def test_a_version_was_agreed_before_a_continued_session(version, agreed):
    """Of one that begins here, none was."""
    assert agreed_version({"protocol_version": version, "continued": True}) == agreed
    assert agreed_version({"protocol_version": version, "continued": False}) is None
    assert agreed_version({"protocol_version": version}) is None


@pytest.mark.parametrize(
    ("value", "offset"),
    [(0, 0), (5, 5), ((1 << 63) - 1, (1 << 63) - 1), (1 << 63, 0), (-1, 0), ("5", 0), (None, 0)],
)
def test_how_much_came_before(value, offset):
    """Each direction by itself; anything else is as if it were not there."""
    assert stream_offsets({"position": {"to_client": value}}) == {UP: 0, DOWN: offset}
    assert stream_offsets({"position": {"to_upstream": value, "x": 7}}) == {UP: offset, DOWN: 0}
    assert stream_offsets({}) == {UP: 0, DOWN: 0}


def test_the_network_of_a_session():
    """If it is one that is known."""
    assert network_of({"network": "lbry-regtest"}) is networks.get("lbry-regtest")
    assert network_of({"network": "nothing"}) is None
    assert network_of({}) is None


def test_who_decided_is_text():
    """Whatever a file says."""
    assert trail_of({"trail": ["a", 1, None]}) == ("a", "1", "None")
    assert trail_of({}) == ()


OPENED = Opened(1, Endpoint("10.0.0.1", 5), Endpoint("10.0.0.2", 6), 7, begun=False)


@pytest.mark.parametrize(
    ("value", "endpoint"),
    [
        (["x.onion", 9246], Endpoint("x.onion", 9246)),
        (["x.onion", 0], Endpoint("x.onion", 0)),
        (["x.onion", 65_535], Endpoint("x.onion", 65_535)),
    ]
    + [
        (value, None)
        for value in (None, [], ["x"], ["x", -1], ["x", 65_536], ["x", "1"], [1, 1], "x:1", {})
    ],
)
def test_host_names_of_a_connection(value, endpoint):
    """Each end by itself; what is no endpoint leaves the address."""
    found = with_host_names(OPENED, {"source": value})
    assert (found.client, found.server) == (endpoint or OPENED.client, OPENED.server)
    found = with_host_names(OPENED, {"target": value})
    assert (found.client, found.server) == (OPENED.client, endpoint or OPENED.server)
    found = with_host_names(OPENED, {"source": value, "target": ["y", 1]})
    assert (found.client, found.server) == (endpoint or OPENED.client, Endpoint("y", 1))
    assert (found.connection, found.time_ns, found.begun) == (1, 7, False)
    assert with_host_names(OPENED, {}) is OPENED
