"""Sessions that nobody ends: as of packets, those that were silent for longest are let go."""

import itertools
import json
import struct
from collections import Counter

import pytest

from lbcproxy.capture import events, open_capture
from lbcproxy.capture.events import CaptureSessionEnded
from lbcproxy.capture.formats import _ndjson_events, core
from lbcproxy.session import EndCause
from lbcproxy.session.events import Delivered, SessionStarted
from lbcproxy.text import iso_time
from tests.memory import held_after

MOST = 100
"""How many may be open here, so that few are enough for the test."""
SECTION = {"event": "section", "network": "lbry-regtest", "legs": "client", "changes": False}


@pytest.fixture(autouse=True)
def bound(monkeypatch):
    """Use a small limit."""
    monkeypatch.setattr(_ndjson_events, "MAX_OPEN", MOST)
    monkeypatch.setattr(core, "MAX_OPEN", MOST)


def started(number, **more):
    """Return the line of a session that began."""
    return {
        "event": "started",
        "time": iso_time(number * 1_000),
        "session": number,
        "network": "lbry-regtest",
        "client": f"10.0.0.1:{number % 60_000}",
        "listen": "10.0.0.2:29246",
        "upstream": "10.0.0.3:29246",
        **more,
    }


def ping(number, session):
    """Return the line of a ping."""
    return {
        "number": number,
        "time": iso_time(number * 1_000),
        "session": session,
        "direction": "to_upstream",
        "command": "ping",
        "payload": number.to_bytes(8, "little").hex(),
    }


def finished(number, direction):
    """Return the line of one side that closed."""
    time = iso_time(number * 1_000)
    return {"event": "finished", "time": time, "session": number, "direction": direction}


def lines(path, said):
    """Write lines of ndjson."""
    with path.open("w") as file:
        for each in said:
            file.write(json.dumps(each) + "\n")
    return path


def never_ending(count):
    """Return the lines of sessions that begin, and nothing more."""
    return (started(number) for number in range(1, count + 1))


def ending(count):
    """Return the lines of sessions that begin and end."""
    for number in range(1, count + 1):
        yield started(number)
        yield ping(number, number)
        yield from (finished(number, way) for way in ("to_upstream", "to_client"))


def printed(count):
    """What `show` prints: messages alone, here each of another session."""
    return (ping(number, number) for number in range(1, count + 1))


def taken_again(count):
    """The same number for one session after the other."""
    return (started(1) for _ in range(count))


@pytest.mark.slow
@pytest.mark.parametrize("said", [never_ending, ending, printed, taken_again])
def test_memory_does_not_grow_with_the_number_of_sessions(tmp_path, said):
    """Neither of open ones nor of those that are over."""
    path = lines(tmp_path / "many.ndjson", itertools.chain([SECTION], said(4_000)))
    happened = events(open_capture(path, "lbry-regtest"))
    held = held_after((each for each in happened if isinstance(each, SessionStarted)), 2_000, 4_000)
    assert held[1] - held[0] < 20_000, held


def test_those_that_were_silent_longest_are_let_go(tmp_path):
    """One that speaks is kept; what is let go has an end that says so."""
    said = [SECTION, started(1)]
    for number in range(2, 3 * MOST):
        said += [started(number), ping(number, 1)]
    happened = list(events(open_capture(lines(tmp_path / "x.ndjson", said))))
    causes = Counter(
        each.report.end.cause for each in happened if isinstance(each, CaptureSessionEnded)
    )
    assert causes[EndCause.SILENT] == 4 * MOST // 2
    [first] = [
        each for each in happened if isinstance(each, CaptureSessionEnded) and each.info.number == 1
    ]
    assert first.report.end.cause is EndCause.OPEN
    assert (
        sum(len(each.deliveries) for each in happened if isinstance(each, Delivered))
        == 3 * MOST - 2
    )


def test_what_comes_of_it_later_is_not_lost(tmp_path):
    """It is another session then, without its beginning; its end alone is nothing."""
    said = [SECTION, *never_ending(2 * MOST), ping(1, 1), finished(2, "to_client")]
    path = lines(tmp_path / "x.ndjson", said)
    [passed] = [each for each in events(open_capture(path)) if isinstance(each, Delivered)]
    assert passed.deliveries[0].entries[0].command == "ping"
    assert passed.info.network == "lbry-regtest"


def test_peers_of_core_are_let_go_as_well(tmp_path, monkeypatch):
    """A node that ran for months has met very many."""
    monkeypatch.setattr(core, "_MAX_INTERLEAVED", 10)
    record = struct.pack("<Q12sI", 1_000_000, b"ping", 8) + bytes(8)
    for number in range(3 * MOST):
        folder = tmp_path / f"10.0.{number // 250}.{number % 250}_8333"
        folder.mkdir()
        (folder / core.RECEIVED).write_bytes(record)
    open_now, most, messages = 0, 0, 0
    for event in events(open_capture(tmp_path, "bitcoin-mainnet")):
        open_now += isinstance(event, SessionStarted) - isinstance(event, CaptureSessionEnded)
        most = max(most, open_now)
        messages += isinstance(event, Delivered)
    assert messages == 3 * MOST
    assert most <= MOST + 2
