"""How long answers took, held against conversations made for it and against exact arithmetic."""

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.capture.tools import response_times as module
from lbcproxy.capture.tools.response_times import PAIRS, DurationHistogram, ResponseTimes
from lbcproxy.resources import folder
from lbcproxy.session import Direction, Entry, Message
from lbcproxy.wire import Codec
from lbcproxy.wire.messages.headers import BlockHeader, GetHeaders, Headers
from lbcproxy.wire.messages.inventory import GetData, Inv, InventoryVector, InvType, NotFound
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.memory import held_after

CODEC = Codec(networks.get("bitcoin-regtest"), protocol_version=70016, encoding="witness")
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
CAPTURES = folder("captures")


def found(*said, session=1):
    """Return what is found of records that were said: direction, record, time, verdict."""
    answers = ResponseTimes()
    for entry in entries(said, session):
        answers.add(entry)
    return {(each["pair"], each["direction"]): each for each in answers.to_list()}


def entries(said, session=1):
    for number, (direction, record, time_ns, *verdict) in enumerate(said, 1):
        message = Message.of(record, direction, CODEC)
        yield Entry(
            number=number,
            time_ns=time_ns,
            session=session,
            direction=direction,
            message=message,
            verdict=verdict[0] if verdict else "pass",
        )


def counts(row):
    """Return the counts of a row: asked, answered, not found, never."""
    assert row["not_followed"] == 0
    return tuple(row[key] for key in ("requests", "answered", "not_found", "unanswered"))


def inventory(kind, *hashes):
    return tuple(InventoryVector(type=kind, hash=each) for each in hashes)


def header(previous, nonce=0):
    return BlockHeader(
        version=1,
        prev_block=previous,
        merkle_root=bytes(32),
        claim_trie=None,
        timestamp=0,
        bits=0,
        nonce=nonce,
    )


def transaction(witness=()):
    """Return one, with a witness or without."""
    spent = TxIn(prev_hash=b"\x01" * 32, prev_index=0, script_sig=b"", sequence=0, witness=witness)
    out = TxOut(value=1, script_pubkey=b"")
    return Tx(version=1, inputs=(spent,), outputs=(out,), lock_time=0)


def test_a_pong_answers_the_ping_with_its_nonce():
    """In either direction, and each its own."""
    rows = found(
        (UP, Ping(nonce=1), 1_000),
        (UP, Ping(nonce=2), 2_000),
        (DOWN, Ping(nonce=1), 2_500),
        (DOWN, Pong(nonce=2), 5_000),
        (UP, Pong(nonce=1), 5_500),
        (DOWN, Pong(nonce=3), 6_000),
    )
    row = rows["ping-pong", "to_upstream"]
    assert counts(row) == (2, 1, 0, 1)
    assert (row["median"], row["p99"], row["longest"]) == (3e-6, 3e-6, 3e-6)
    assert counts(rows["ping-pong", "to_client"]) == (1, 1, 0, 0)


def test_the_same_request_again_is_answered_by_the_next_answer():
    """A node that says 0 each time is no riddle."""
    said = [(UP, Ping(nonce=0), 10), (UP, Ping(nonce=0), 20)]
    said += [(DOWN, Pong(nonce=0), 40), (DOWN, Pong(nonce=0), 70)]
    row = found(*said)["ping-pong", "to_upstream"]
    assert counts(row) == (2, 2, 0, 0)
    assert row["longest"] == 50e-9


def test_blocks_and_transactions_are_known_by_their_hashes():
    """A block is not asked for as a transaction; notfound is an answer of another kind."""
    block, other = header(bytes(32)), b"\x05" * 32
    tx = transaction()
    wants = (
        *inventory(InvType.BLOCK, block.hash, other),
        *inventory(InvType.WITNESS_TX, tx.txid, other),
    )
    rows = found(
        (UP, GetData(inventory=wants), 0),
        (DOWN, tx, 3_000_000),
        (DOWN, NotFound(inventory=inventory(InvType.WITNESS_TX, other)), 3_000_000),
        (DOWN, tx, 4_000_000),
    )
    assert counts(rows["getdata-tx", "to_upstream"]) == (2, 1, 1, 0)
    assert rows["getdata-tx", "to_upstream"]["longest"] == 0.003
    assert counts(rows["getdata-block", "to_upstream"]) == (2, 0, 0, 2)
    assert rows["getdata-block", "to_upstream"]["median"] is None


@pytest.mark.parametrize("kind", [InvType.WTX, InvType.TX])
def test_a_transaction_may_be_asked_for_by_either_id(kind):
    """BIP339: by the id that holds for the witness too."""
    tx = transaction((b"signature",))
    assert tx.txid != tx.wtxid
    name = tx.wtxid if kind is InvType.WTX else tx.txid
    rows = found((DOWN, GetData(inventory=inventory(kind, name)), 0), (UP, tx, 5))
    assert counts(rows["getdata-tx", "to_client"]) == (1, 1, 0, 0)


def test_headers_answer_the_locator_they_continue():
    """What is announced in the meantime answers nobody; none at all answer who waits longest."""
    known, far = b"\x07" * 32, b"\x08" * 32

    def ask(*locator):
        return GetHeaders(version=70016, locator=locator, hash_stop=bytes(32))

    rows = found(
        (UP, ask(b"\x09" * 32, known), 0),
        (DOWN, Headers(headers=(header(far),)), 10),
        (DOWN, Headers(headers=(header(known),)), 20),
        (UP, ask(known), 100),
        (UP, ask(far), 200),
        (DOWN, Headers(headers=()), 1_100),
        (UP, ask(), 2_000),
    )
    row = rows["getheaders-headers", "to_upstream"]
    assert counts(row) == (4, 2, 0, 2)
    assert row["longest"] == 1_000e-9


def test_one_header_is_asked_for_by_its_hash():
    """Without a locator."""
    wanted = header(bytes(32))
    ask = GetHeaders(version=70016, locator=(), hash_stop=wanted.hash)
    rows = found((UP, ask, 0), (DOWN, Headers(headers=(wanted,)), 10))
    assert counts(rows["getheaders-headers", "to_upstream"]) == (1, 1, 0, 0)


def test_what_is_announced_is_asked_for_or_not():
    """`inv` of one side, `getdata` of the other; not of its own."""
    first, second = b"\x01" * 32, b"\x02" * 32
    rows = found(
        (DOWN, Inv(inventory=inventory(InvType.TX, first, second)), 0),
        (DOWN, GetData(inventory=inventory(InvType.TX, second)), 1),
        (UP, GetData(inventory=inventory(InvType.TX, first)), 7),
    )
    assert counts(rows["inv-getdata", "to_client"]) == (2, 1, 0, 1)
    assert rows["inv-getdata", "to_client"]["longest"] == 7e-9


def test_what_was_dropped_was_not_asked():
    """It never arrived; an answer that was dropped was given anyway."""
    rows = found(
        (UP, Ping(nonce=1), 0, "drop"),
        (DOWN, Pong(nonce=1), 1),
        (UP, Ping(nonce=2), 2),
        (DOWN, Pong(nonce=2), 3, "drop"),
    )
    assert counts(rows["ping-pong", "to_upstream"]) == (1, 1, 0, 0)


def test_sessions_do_not_answer_each_other():
    """The same hash is asked for in many."""
    answers = ResponseTimes()
    for entry in itertools.chain(
        entries([(UP, Ping(nonce=1), 0)], 1), entries([(DOWN, Pong(nonce=1), 1)], 2)
    ):
        answers.add(entry)
    answers.session_ended(1)
    for entry in entries([(DOWN, Pong(nonce=1), 1)], 1):
        answers.add(entry)
    [row] = answers.to_list()
    assert counts(row) == (1, 0, 0, 1)


@pytest.mark.slow
def test_what_waits_is_bounded_and_what_is_let_go_counted(monkeypatch):
    """A node may announce for ever what nobody wants."""
    monkeypatch.setattr(module, "MAX_PENDING", 1_000)
    answers = ResponseTimes()

    def announce(turn):
        hashes = (turn.to_bytes(16, "big") + each.to_bytes(16, "big") for each in range(100))
        said = [(DOWN, Inv(inventory=inventory(InvType.TX, *hashes)), turn)]
        for entry in entries(said):
            answers.add(entry)
        return turn

    held = held_after(map(announce, range(50)), 20, 50)
    [row] = answers.to_list()
    assert (row["requests"], row["not_followed"], row["unanswered"]) == (5_000, 4_000, 1_000)
    assert held[1] - held[0] < 100_000
    last = (49).to_bytes(16, "big") + (99).to_bytes(16, "big")
    for entry in entries([(UP, GetData(inventory=inventory(InvType.TX, last)), 50)]):
        answers.add(entry)
    rows = {each["pair"]: each for each in answers.to_list()}
    assert rows["inv-getdata"]["answered"] == 1


def test_long_locators_count_for_what_they_are(monkeypatch):
    """Five hundred hashes each, of which the first tell enough."""
    monkeypatch.setattr(module, "MAX_PENDING", 100)
    rows = found(
        *(
            (
                UP,
                GetHeaders(
                    version=70016,
                    locator=tuple(bytes([turn]) + bytes([n % 256]) * 31 for n in range(500)),
                    hash_stop=bytes(32),
                ),
                turn,
            )
            for turn in range(10)
        )
    )
    row = rows["getheaders-headers", "to_upstream"]
    assert (row["requests"], row["not_followed"]) == (10, 8)


@pytest.mark.parametrize("name", ["lbcd-sync", "lbcd-probe"])
def test_real_conversations_add_up(name):
    """What is asked for is answered, refused or not; nobody waits after the end."""
    answers = ResponseTimes()
    capture = open_capture(CAPTURES / f"{name}.pcap")
    capture.on_session_ended = lambda report: answers.session_ended(report.number)
    asked = 0
    for entry in capture:
        answers.add(entry)
        if entry.command == "getdata" and entry.error is None:
            asked += len(entry.message.record.inventory)
    rows = answers.to_list()
    assert {row["pair"] for row in rows} <= {pair.name for pair in PAIRS}
    for row in rows:
        parts = [row[key] for key in ("answered", "not_found", "unanswered", "not_followed")]
        assert sum(parts) == row["requests"] > 0
        assert (row["median"] is None) == (row["answered"] == 0)
    assert sum(row["requests"] for row in rows if row["pair"].startswith("getdata")) == asked


@given(st.lists(st.integers(0, 10**15), min_size=1), st.floats(0.01, 1))
@example([181, 183], 0.5)
def test_quantiles_are_right_to_one_percent(times, part):
    """Of the nearest rank. No rounding to whole nanoseconds comes on top; 0 counts as one."""
    counted = DurationHistogram()
    for each in times:
        counted.add(each)
    exact = sorted(times)[math.ceil(part * len(times)) - 1]
    assert counted.quantile(part) * 1e9 == pytest.approx(exact, rel=0.01, abs=1)
    assert counted.cumulative()[-1][1] == 1


def test_a_clock_that_was_set_back_gives_no_negative_times():
    """And no error."""
    counted = DurationHistogram()
    counted.add(-5)
    assert counted.quantile(0.5) == 0
