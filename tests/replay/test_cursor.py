"""What a recorded node answers: to the recorded questions, in any order, and to others."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from lbcproxy.replay import load
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.as_server.cursor import ReplayCursor, UnansweredRequest
from lbcproxy.replay.as_server.request_types import REQUEST_TYPES
from lbcproxy.session import Direction, Message
from lbcproxy.wire import Codec, Framer
from lbcproxy.wire.messages.addresses import Addr, GetAddr
from lbcproxy.wire.messages.headers import GetBlocks, GetHeaders, Headers
from lbcproxy.wire.messages.inventory import (
    WITNESS_FLAG,
    GetData,
    Inv,
    InventoryVector,
    InvType,
    NotFound,
)
from lbcproxy.wire.messages.keepalive import FeeFilter, MemPool, Ping, Pong, SendHeaders
from tests.replay.recordings import (
    BITCOIN,
    DOWN,
    UP,
    VERSION,
    asks,
    blocks_on,
    message,
    says,
    start_cursor,
    talk,
    transaction,
)

CAPTURES = Path(__file__).parent.parent.parent / "captures"
SYNC, PROBE = CAPTURES / "lbcd-sync.pcap", CAPTURES / "lbcd-probe.pcap"
NO_STOP = bytes(32)
LIVE = ("version", "verack", "ping", "pong")


def answers_of(cursor, *records):
    """What the place says to these messages, the unknown left out: records, all of them sound."""
    found = []
    for record in records:
        question = record if isinstance(record, Message) else asks(record)
        for each in cursor.handle(question):
            if not isinstance(each, UnansweredRequest):
                command, raw = each
                [frame] = Framer(BITCOIN).feed(raw)
                assert frame.error is None
                found.append(Codec(BITCOIN, VERSION, "auto").decode(command, raw[24:]))
    return found


def unknown(cursor, record):
    """What of a question the recording does not know."""
    return [
        each.message for each in cursor.handle(asks(record)) if isinstance(each, UnansweredRequest)
    ]


def things(kind, *hashes):
    """The vectors of some things."""
    return tuple(InventoryVector(kind, each) for each in hashes)


# Real conversations.


@pytest.mark.parametrize(
    ("path", "session", "side"),
    [(SYNC, 1, DOWN), (SYNC, 1, UP), (PROBE, 1, DOWN), (PROBE, 2, DOWN), (PROBE, 5, DOWN)],
)
def test_the_recorded_client_hears_all_that_the_node_had_said(path, session, side):
    """Message for message, whichever side is played; what is live is left out."""
    with load(path, session=session) as conversation:
        answers = Answers(conversation, side)
        cursor = ReplayCursor(answers, 70013, Counter())
        heard = [raw for _, raw in cursor.begin()]
        for turn, said in conversation:
            if turn.direction is side.other and turn.command not in LIVE:
                for each in cursor.handle(said):
                    assert not isinstance(each, UnansweredRequest), each
                    heard.append(each[1])
        recorded = [
            conversation.raw(turn)
            for turn in conversation.turns
            if turn.direction is side and turn.command not in LIVE
        ]
        assert Counter(heard) == Counter(recorded)
        assert cursor.stats.unknown == {}
        assert cursor.stats.unsent == 0


@pytest.mark.parametrize("path", [SYNC, PROBE])
def test_questions_are_answered_alike_in_any_order(path):
    """Each by itself, thing by thing, shuffled: the same answers, as messages of their kind."""
    with load(path) as conversation:
        answers = Answers(conversation, DOWN)
        parts = []
        for turn, said in conversation:
            question = REQUEST_TYPES.get(turn.command)
            if turn.direction is UP and question is not None and turn.command != "ping":
                keys = question.parts(said)
                parts += [question.only(said, [key]) for key in keys]
        assert len(parts) >= 20
        answers.unsolicited.clear()

        def answered(order):
            cursor = ReplayCursor(answers, 70013, Counter())
            return {
                each: [
                    one
                    for one in cursor.handle(parts[each])
                    if not isinstance(one, UnansweredRequest)
                ]
                for each in order
            }

        first = answered(range(len(parts)))
        order = list(range(len(parts)))
        random.Random(8).shuffle(order)
        assert answered(order) == first
        silent = {parts[each].command for each in order if not first[each]}
        assert silent <= {"getaddr", "getblocks"}  # the node itself had nothing to say to these


def test_a_filtered_block_comes_with_its_transactions():
    """BIP37 sends them after it, unsolicited; they belong to it."""
    with load(PROBE) as conversation:
        answers = Answers(conversation, DOWN)
        cursor = ReplayCursor(answers, 70013, Counter())
        [turn] = [t for t in conversation.turns if t.command == "getdata" and t.position == 23]
        said = [command for command, _ in cursor.handle(conversation.message(turn))]
        assert said[:6] == ["merkleblock", *["tx"] * 5]


def test_all_filters_of_a_range_belong_to_the_question():
    """A `getcfilters` has an answer for each block."""
    with load(PROBE) as conversation:
        answers = Answers(conversation, DOWN)
        answers.unsolicited.clear()
        cursor = ReplayCursor(answers, 70013, Counter())
        [turn] = [turn for turn in conversation.turns if turn.command == "getcfilters"]
        assert [c for c, _ in cursor.handle(conversation.message(turn))] == ["cfilter"] * 15


# Locators.


def chain_talk(count, *more):
    """A conversation in which a client got the headers of a chain."""
    blocks = blocks_on(None, count)
    genesis = blocks[0].header.prev_block
    said = []
    for first in range(0, count, 2000):
        headers = tuple(block.header for block in blocks[first : first + 2000])
        said.append(asks(GetHeaders(VERSION, (headers[0].prev_block,), NO_STOP)))
        said.append(says(Headers(headers)))
    return talk(*said, *more), blocks, genesis


def test_another_locator_is_answered_from_the_recorded_chain():
    """With what follows its first known block, up to the stop."""
    conversation, blocks, genesis = chain_talk(10)
    headers = [block.header for block in blocks]
    hashes = [header.hash for header in headers]
    cursor = start_cursor(conversation)

    def asked(locator, stop=NO_STOP):
        [answer] = answers_of(cursor, GetHeaders(VERSION, locator, stop))
        return list(answer.headers)

    assert asked((hashes[3],)) == headers[4:]
    assert asked((b"?" * 32, hashes[5], hashes[2])) == headers[6:]
    assert asked((genesis,), hashes[4]) == headers[:5]
    assert asked((hashes[9],)) == []
    assert asked((), hashes[7]) == [headers[7]]
    assert cursor.stats.answered == 5
    [question] = unknown(cursor, GetHeaders(VERSION, (b"?" * 32,), NO_STOP))
    assert question.command == "getheaders"


def test_getblocks_is_answered_from_the_same_chain():
    """As inventory; a node that has no more says nothing, and that is an answer too."""
    conversation, blocks, _ = chain_talk(10)
    hashes = [block.header.hash for block in blocks]
    cursor = start_cursor(conversation)
    [inv] = answers_of(cursor, GetBlocks(VERSION, (hashes[6],), NO_STOP))
    assert inv == Inv(things(InvType.BLOCK, *hashes[7:]))
    assert answers_of(cursor, GetBlocks(VERSION, (hashes[-1],), NO_STOP)) == []
    assert cursor.stats.unknown == {}


def test_a_branch_leads_back_to_the_longest_chain():
    """Anyone who stands on a branch that lost is given what follows where it left."""
    conversation, blocks, _ = chain_talk(10)
    branch = blocks_on(blocks[4].header.hash, 2, salt=9)
    conversation.append(asks(branch[0]), 0)
    conversation.append(asks(branch[1]), 0)
    cursor = start_cursor(conversation)
    locator = (branch[1].header.hash,)
    [answer] = answers_of(cursor, GetHeaders(VERSION, locator, NO_STOP))
    assert list(answer.headers) == [block.header for block in blocks[5:]]


def test_more_blocks_than_may_be_named_are_led_to():
    """500 at a time; after the last of them comes the tip, which makes a node go on."""
    conversation, blocks, genesis = chain_talk(1200, *map(says, blocks_on(None, 1200)))
    hashes = [block.header.hash for block in blocks]
    cursor = start_cursor(conversation)
    cursor._next = len(cursor._answers.unsolicited)  # the blocks themselves came unsolicited
    locator, got = genesis, []
    while True:
        answer = answers_of(cursor, GetBlocks(VERSION, (locator,), NO_STOP))
        if not answer:
            break
        [inv] = answer
        got += [thing.hash for thing in inv.inventory]
        answers_with = answers_of(cursor, GetData(inv.inventory))
        tip = [each for each in answers_with if isinstance(each, Inv)]
        more = len(got) < 1200
        assert tip == ([Inv(things(InvType.BLOCK, hashes[-1]))] if more else [])
        locator = got[-1]
    assert got == hashes


def test_2000_headers_are_the_most():
    """Then the client asks on."""
    conversation, blocks, _ = chain_talk(2100)
    cursor = start_cursor(conversation)
    [answer] = answers_of(cursor, GetHeaders(VERSION, (blocks[9].header.hash,), NO_STOP))
    assert len(answer.headers) == 2000
    assert answer.headers[0] == blocks[10].header


def test_a_recorded_answer_goes_before_the_chain():
    """What the node did say is what it says, if it knew more later."""
    conversation, blocks, genesis = chain_talk(3)
    later = blocks_on(blocks[-1].header.hash, 1)
    conversation.append(says(Headers((later[0].header,))), 0)
    cursor = start_cursor(conversation)
    [first] = answers_of(cursor, GetHeaders(1, (genesis,), NO_STOP))[:1]
    assert len(first.headers) == 3


def test_an_announcement_is_not_an_answer():
    """A block found while a question is open is named by its place on the chain."""
    blocks = blocks_on(None, 4)
    hashes = [block.header.hash for block in blocks]
    announced = says(Inv(things(InvType.BLOCK, hashes[3])))
    conversation = talk(
        *map(says, blocks),
        asks(GetBlocks(VERSION, (blocks[0].header.prev_block,), NO_STOP)),
        announced,
        says(Inv(things(InvType.BLOCK, *hashes[:3]))),
    )
    answers = Answers(conversation, DOWN)
    assert [each.turn.command for each in answers.unsolicited] == ["block"] * 4 + ["inv"]
    assert conversation.raw(answers.unsolicited[-1].turn) == announced.raw


def test_a_request_that_was_passed_over_is_not_answered_later():
    """A node answers in order: a `mempool` without answer does not take a later announcement."""
    conversation = talk(
        asks(MemPool()),
        asks(Ping(7)),
        says(Pong(7)),
        says(Inv(things(InvType.TX, b"t" * 32))),
    )
    answers = Answers(conversation, DOWN)
    assert [each.turn.command for each in answers.unsolicited] == ["inv"]
    cursor = ReplayCursor(answers, VERSION, Counter())
    assert [type(each) for each in answers_of(cursor, MemPool())] == [Inv]
    assert cursor.stats.unknown == {}  # the recorded node had not answered either


# Things by hash.


def test_what_is_not_there_is_said_in_one_message():
    """As recorded, for those asked now."""
    one, other, there = transaction(1), transaction(2), transaction(3)
    hashes = [one.txid, other.txid, there.txid]
    conversation = talk(
        asks(GetData(things(InvType.TX, *hashes))),
        says(there),
        says(NotFound(things(InvType.TX, *hashes[:2]))),
    )
    cursor = start_cursor(conversation)
    asked = GetData(things(InvType.TX, hashes[1], hashes[2], hashes[0]))
    assert answers_of(cursor, asked) == [there, NotFound(things(InvType.TX, hashes[1], hashes[0]))]


def test_what_is_unknown_is_distinguished():
    """Anyone who decides about it gets the unknown things alone; the others are answered."""
    known = transaction(1)
    conversation = talk(asks(GetData(things(InvType.TX, known.txid))), says(known))
    cursor = start_cursor(conversation)
    strange = things(InvType.TX, b"a" * 32, b"b" * 32)
    mixed = GetData((strange[0], *things(InvType.TX, known.txid), strange[1]))
    assert answers_of(start_cursor(conversation), mixed) == [known]
    [left] = unknown(cursor, mixed)
    assert left.record == GetData(strange)
    command, raw = cursor.not_found(left)
    assert (command, raw) == ("notfound", says(NotFound(strange)).raw)
    assert cursor.stats.answered == 1
    assert cursor.stats.unknown == {"getdata": 2}
    assert str(cursor.stats) == "1 request answered, 2 not in the recording (getdata 2)"


@pytest.mark.parametrize("asked_with", [True, False])
def test_witnesses_are_given_to_who_asks_for_them(asked_with):
    """Recorded with witnesses, wanted without; what has none is the same both ways."""
    signed = transaction(1, witness=True)
    flag = WITNESS_FLAG if asked_with else 0
    kind = InvType.TX | WITNESS_FLAG
    conversation = talk(asks(GetData(things(kind, signed.txid))), says(signed))
    [got] = answers_of(start_cursor(conversation), GetData(things(InvType.TX | flag, signed.txid)))
    assert got.txid == signed.txid
    assert bool(got.inputs[0].witness) is asked_with


def test_what_was_recorded_without_witnesses_is_given_as_it_is():
    """Nobody can make up what was left out."""
    signed = transaction(1, witness=True)
    bare = message(signed, DOWN, encoding="base")
    conversation = talk(asks(GetData(things(InvType.TX, signed.txid))), bare)
    cursor = start_cursor(conversation)
    [(_, raw)] = cursor.handle(asks(GetData(things(InvType.TX | WITNESS_FLAG, signed.txid))))
    assert raw == bare.raw


def test_a_transaction_has_two_names():
    """By wtxid (BIP339) it is the same one, with its witness."""
    signed = transaction(1, witness=True)
    conversation = talk(asks(GetData(things(InvType.TX | WITNESS_FLAG, signed.txid))), says(signed))
    cursor = start_cursor(conversation)
    assert answers_of(cursor, GetData(things(InvType.WTX, signed.wtxid))) == [signed]


def test_a_node_has_what_the_client_gave_it():
    """A block that the client had mined is on the node's chain from then on."""
    [block] = blocks_on(None, 1)
    cursor = start_cursor(talk(asks(block)))
    assert answers_of(cursor, GetData(things(InvType.BLOCK, block.header.hash))) == [block]


# Times.


def test_the_same_question_again_gets_its_next_answer():
    """The first time the first, then the second; then the last for ever."""
    first, second = Addr(()), Addr(())
    second = says(second).replace(addresses=())
    one, two = transaction(1), transaction(2)
    conversation = talk(
        asks(MemPool()),
        says(Inv(things(InvType.TX, one.txid))),
        asks(MemPool()),
        says(Inv(things(InvType.TX, one.txid, two.txid))),
    )
    cursor = start_cursor(conversation)
    sizes = [len(answers_of(cursor, MemPool())[0].inventory) for _ in range(4)]
    assert sizes == [1, 2, 2, 2]
    assert first == second.record


def test_each_client_has_its_own_place():
    """What one has asked is no matter of the other's."""
    conversation, *_ = chain_talk(3, says(SendHeaders()))
    answers = Answers(conversation, DOWN)
    one, other = (ReplayCursor(answers, VERSION, Counter()) for _ in range(2))
    question = GetHeaders(VERSION, (answers.chain.genesis,), NO_STOP)
    assert [type(each) for each in answers_of(one, question)] == [Headers, SendHeaders]
    assert [type(each) for each in answers_of(other, question)] == [Headers, SendHeaders]


# What nobody asked for.


def test_the_unasked_comes_when_as_much_has_been_asked():
    """Things count one by one, pings not at all; it follows the answers."""
    given = [transaction(number) for number in range(3)]
    ids = [each.txid for each in given]
    conversation = talk(
        says(FeeFilter(1)),
        asks(GetData(things(InvType.TX, *ids))),
        *map(says, given),
        says(FeeFilter(2)),
        asks(GetAddr()),
        says(FeeFilter(3)),
    )
    cursor = start_cursor(conversation)
    codec = Codec(BITCOIN, VERSION)
    assert [codec.decode(name, raw[24:]) for name, raw in cursor.begin()] == [FeeFilter(1)]
    assert answers_of(cursor, Ping(1)) == []
    assert answers_of(cursor, GetData(things(InvType.TX, ids[2]))) == [given[2]]
    assert answers_of(cursor, GetData(things(InvType.TX, ids[0]))) == [given[0]]
    assert cursor.stats.unsent == 2
    assert answers_of(cursor, GetData(things(InvType.TX, ids[1]))) == [given[1], FeeFilter(2)]
    assert str(cursor.stats) == "3 requests answered, 1 unsolicited message not sent"


def test_a_client_gets_what_its_version_has():
    """One of version 70011 does not know `sendheaders` and `feefilter`."""
    conversation = talk(says(SendHeaders()), says(FeeFilter(2)), says(Addr(())))
    cursor = start_cursor(conversation, version=70011)
    assert [command for command, _ in cursor.begin()] == ["addr"]


def test_what_is_not_a_question_is_not_unknown():
    """Most of what a client says asks for nothing."""
    cursor = start_cursor(talk())
    for record in (SendHeaders(), FeeFilter(1), Inv(things(InvType.TX, b"x" * 32)), Pong(3)):
        assert list(cursor.handle(asks(record))) == []
    assert cursor.stats.unknown == {}
    assert [each.command for each in unknown(cursor, GetAddr())] == ["getaddr"]


def test_the_offers_of_the_handshake_are_kept_apart():
    """They are said in the next handshake, not after it."""
    with load(SYNC) as conversation:
        assert Answers(conversation, Direction.TO_CLIENT).offers == []
    assert Answers(talk(), DOWN).offers == []
