"""Recordings of sessions in which messages are dropped, injected and rewritten."""

import itertools
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import Recorder
from lbcproxy.capture.formats import read_packets
from lbcproxy.capture.ip.segments import dissect
from lbcproxy.capture.packet import Packet
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import Data
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    EndCause,
    Entry,
    Message,
    Session,
    SessionInfo,
    SessionSummary,
)
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from tests.session.feed import Feed

NETWORK = networks.get("lbry-regtest")


UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


TRAIL = ("terminate", "for a node without witness")


def ping(number: int) -> bytes:
    """A frame that is not like another."""
    return frame(NETWORK.magic, "ping", number.to_bytes(8, "little"))


def inv(number: int) -> bytes:
    """The same, of another length."""
    return frame(NETWORK.magic, "inv", b"\x01\x01" + bytes(3) + number.to_bytes(32, "little"))


def long(size: int, command: str = "nobodyknows") -> bytes:
    """A frame that does not fit into one packet."""
    return frame(NETWORK.magic, command, bytes(size))


class Step(NamedTuple):
    """One thing that happens in a session."""

    direction: Direction
    verdict: str
    raw: bytes
    """What came in; empty for what was injected."""
    sent: bytes
    """What went out; empty for what was dropped."""
    session: int = 1

    @property
    def frame(self) -> bytes:
        """What the capture is to give for it: what came, or what was put in."""
        return self.raw or self.sent

    @property
    def trail(self) -> tuple[str, ...]:
        """Why."""
        return () if self.verdict == "pass" else TRAIL


def passed(direction: Direction, raw: bytes, session: int = 1) -> Step:
    return Step(direction, "pass", raw, raw, session)


def dropped(direction: Direction, raw: bytes, session: int = 1) -> Step:
    return Step(direction, "drop", raw, b"", session)


def injected(direction: Direction, sent: bytes, session: int = 1) -> Step:
    return Step(direction, "inject", b"", sent, session)


def rewritten(direction: Direction, raw: bytes, sent: bytes, session: int = 1) -> Step:
    return Step(direction, "rewrite", raw, sent, session)


def session_info(session: int) -> SessionInfo:
    return SessionInfo(
        number=session,
        network=NETWORK.id,
        client=Endpoint("127.0.0.1", 40000 + session),
        listen=Endpoint("127.0.0.1", 29246),
        upstream=Endpoint("127.0.0.1", 29247),
        local=Endpoint("127.0.0.1", 50000 + session),
    )


def record(
    path: Path, steps: list[Step], *, connected: int = 0, ends: bool = True, together: bool = False
) -> Path:
    """Write a capture as a session with changes does; `connected` is when the upstream is there.

    With `together` what is equal in direction and session is told in one call.
    """
    with path.open("ab") as file:
        recorder = Feed(Recorder(file.write, network=NETWORK.id, changes=True))
        times = itertools.count(1_700_000_000_000_000_000, 1_000)
        numbers = itertools.count(1)
        sessions = sorted({each.session for each in steps} | {1})
        for session in sessions:
            recorder.started(session_info(session), next(times))
            if connected == 0:
                recorder.upstream_connected(session_info(session), next(times))
        groups = itertools.groupby(
            enumerate(steps), lambda one: (one[1].session, one[1].direction, together or one[0])
        )
        for index, (_, group) in enumerate(groups, 1):
            batch = [step for _, step in group]
            time = next(times)
            deliveries = [delivery_of(step, next(numbers), time) for step in batch]
            recorder.passed(session_info(batch[0].session), batch[0].direction, deliveries, time)
            if index == connected:
                for session in sessions:
                    recorder.upstream_connected(session_info(session), next(times))
        if ends:
            for session in sessions:
                recorder.ended(summary_of(session), next(times))
    return path


def delivery_of(step: Step, number: int, time_ns: int) -> Delivery:
    command = step.frame[4:16].rstrip(b"\0").decode()
    message = Message(command, step.direction, step.frame, Codec(NETWORK, encoding="auto"))
    entry = Entry(
        number=number,
        time_ns=time_ns,
        session=step.session,
        direction=step.direction,
        message=message,
        verdict=step.verdict,
        trail=step.trail,
    )
    return Delivery(step.raw, (entry,), None if step.verdict == "pass" else step.sent)


def summary_of(session: int) -> SessionSummary:
    sides = Session(session, NETWORK)
    return SessionSummary(
        info=session_info(session),
        end=End(EndCause.CLOSED, Direction.TO_UPSTREAM),
        protocol_version=None,
        client=sides.client.statistics(),
        upstream=sides.upstream.statistics(),
    )


def legs(path: Path) -> list[tuple[bytes, bytes]]:
    """The TCP connections of a file: what went from the one that connected, and back."""
    reassembler, events = Reassembler(), []
    with path.open("rb") as file:
        for packet in read_packets(file):
            if isinstance(packet, Packet):
                segment = dissect(packet)
                assert segment is not None
                events += reassembler.feed(packet.time_ns, segment)
    data = [each for each in events if isinstance(each, Data)]
    numbers = sorted({each.connection for each in events})
    return [
        tuple(
            b"".join(each.data for each in data if (each.connection, each.from_client) == (n, way))
            for way in (True, False)
        )
        for n in numbers
    ]


TALK = [
    dropped(UP, ping(1)),
    injected(UP, ping(2)),
    dropped(DOWN, ping(3)),
    injected(DOWN, ping(4)),
    passed(UP, inv(5)),
    passed(DOWN, inv(6)),
    passed(DOWN, inv(7)),
    rewritten(UP, inv(8), ping(9)),
    rewritten(DOWN, ping(10), inv(11)),
    passed(UP, ping(12)),
    injected(UP, ping(13)),
    dropped(UP, inv(14)),
    injected(DOWN, inv(15)),
    passed(UP, ping(16)),
]


TALK_UP = [
    dropped(UP, ping(1)),
    passed(UP, inv(2)),
    rewritten(UP, inv(3), ping(4)),
    dropped(UP, ping(5)),
    passed(UP, ping(6)),
]


@st.composite
def any_steps(draw: st.DrawFn, sessions: int = 1) -> tuple[list[Step], int]:
    """Draw steps of some sessions, and how many of them come before the upstream connects."""
    kinds = st.tuples(
        st.sampled_from(list(Direction)),
        st.sampled_from(["pass", "drop", "inject", "rewrite", "delay"]),
        st.integers(0, 4),
        st.integers(1, sessions),
    )
    numbers = itertools.count(1)
    drawn = draw(st.lists(kinds, max_size=30))
    connected = draw(st.integers(0, len(drawn)))
    steps = []
    for index, (any_direction, verdict, size, session) in enumerate(drawn):
        # Before the upstream connects nothing comes from it. (What is injected for it by then is
        # in the file where its leg starts, after what passed.)
        direction = any_direction
        if index < connected:
            direction = DOWN if verdict == "inject" else UP
        raw = inv(next(numbers)) if size == 1 else ping(next(numbers))
        if size == 3:
            raw = long(66_000 + next(numbers))
        new = long(67_000 + next(numbers)) if size == 4 else inv(next(numbers))
        sent = {"drop": b"", "rewrite": new}.get(verdict, raw)
        steps.append(Step(direction, verdict, b"" if verdict == "inject" else raw, sent, session))
    return steps, connected
