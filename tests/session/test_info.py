"""What is known of a session at its end, and of what was not recorded."""

import msgspec
import pytest

from lbcproxy.session import End, EndCause, LegTransport, Lost, Session, SessionSummary
from lbcproxy.transport.kind import Transport
from tests.session.frames import DOWN, INFO, NETWORK, NOW, UP, verack, version


def summary(core: Session, end: End) -> SessionSummary:
    """Return the summary of a session that ends now."""
    return SessionSummary(
        info=INFO,
        end=end,
        protocol_version=core.protocol_version,
        client=core.client.statistics(),
        upstream=core.upstream.statistics(),
    )


def test_a_session_is_ready_if_both_nodes_are():
    """One that has said all waits for the other."""
    core, end = Session(1, NETWORK), End(EndCause.CLOSED, DOWN)
    core.receive(UP, version() + verack(), NOW)
    assert not summary(core, end).is_ready
    core.receive(DOWN, version() + verack(), NOW)
    ready = summary(core, end)
    assert ready.is_ready
    assert ready.why == "upstream closed"
    for statistics in ({"client": ready.client}, {"upstream": ready.upstream}):
        [(name, node)] = statistics.items()
        changed = msgspec.structs.replace(ready, **{name: node.not_ready()})
        assert not changed.is_ready


def test_bytes_are_received_on_the_leg_of_the_node_that_sent_them():
    """What a client sends is encrypted with the keys of its leg."""
    client, upstream = LegTransport(Transport.V2, b"c"), LegTransport(Transport.V2, b"u")
    info = msgspec.structs.replace(INFO, client_transport=client, upstream_transport=upstream)
    assert (info.transport_from(UP), info.transport_from(DOWN)) == (client, upstream)


@pytest.mark.parametrize("lost", [Lost(messages=1), Lost(size=1), Lost(packets=1)])
def test_a_loss_of_anything_is_a_loss(lost: Lost):
    """What is lost without a word makes a recorder worthless."""
    assert lost
    assert not Lost()
    assert not Lost(why="a reason alone")


def test_losses_add_up_and_the_first_reason_stays():
    """The first failure is the cause of those that follow."""
    one, other = Lost(messages=1, size=20, packets=300), Lost(messages=4, size=50, packets=600)
    assert one + other == Lost(messages=5, size=70, packets=900)
    first, second = Lost(why="disk full"), Lost(why="a defect")
    assert (first + second).why == "disk full"
    assert (Lost() + second).why == "a defect"


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (Lost(messages=2_000, size=1), "2,000 messages (1 bytes of capture) were not recorded"),
        (Lost(messages=2), "2 messages (0 bytes of capture) were not recorded"),
        (Lost(size=2), "0 messages (2 bytes of capture) were not recorded"),
        (Lost(packets=3_000), "3,000 packets were not recorded"),
        (
            Lost(messages=1, size=2, packets=3),
            "1 messages (2 bytes of capture) and 3 packets were not recorded",
        ),
    ],
)
def test_a_loss_is_described_by_what_was_lost(lost: Lost, words: str):
    """Nothing is said of what was not lost."""
    assert lost.description == words


def test_a_loss_in_a_file_has_what_is_not_zero():
    """Numbers that no program writes are refused."""
    assert msgspec.json.encode(Lost(size=5)) == b'{"bytes":5}'
    assert msgspec.json.decode(b"{}", type=Lost) == Lost()
    most = (1 << 62) - 1
    assert msgspec.json.decode(f'{{"packets":{most}}}', type=Lost).packets == most
    assert msgspec.json.decode(b'{"packets":0}', type=Lost) == Lost()
    for number in (-1, most + 1):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(f'{{"packets":{number}}}', type=Lost)
