"""A filter at work: it reads no more than it must, and stands whatever it meets."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.filters import Filter, parse
from lbcproxy.resources import folder
from lbcproxy.session import Direction, Entry, Message, Session
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame

NETWORK = networks.get("lbry-regtest")


@pytest.fixture
def decoded(monkeypatch):
    """Return the commands that are decoded, in order."""
    found = []
    decode = Codec.decode

    def counted(self, command, payload):
        found.append(command)
        return decode(self, command, payload)

    monkeypatch.setattr(Codec, "decode", counted)
    return found


def fresh():
    """Return the entries of a capture of which only the handshake has been decoded."""
    return list(open_capture(folder("captures") / "lbcd-sync.pcap"))


def entry(message=None, **others):
    """Make an entry."""
    return Entry(
        **{
            "number": 1,
            "time_ns": 0,
            "session": 1,
            "direction": Direction.TO_CLIENT,
            "message": message,
            **others,
        }
    )


@pytest.mark.parametrize(
    "text",
    [
        "inv or tx",
        'direction == "to_client" and size > 100 or number < 7',
        'time > "2026-01-01" and verdict == "pass" and not trail and network =~ "lbry"',
    ],
)
def test_nothing_is_decoded_that_nobody_asks_for(decoded, text):
    """A filter by command or size costs no decoding."""
    entries = fresh()
    decoded.clear()
    wanted = parse(text)
    assert any(map(wanted, entries))
    assert decoded == []


def test_only_messages_of_the_command_are_decoded(decoded):
    """A field of `tx` is looked for in `tx`."""
    entries = fresh()
    decoded.clear()
    wanted = parse("any(o.value > 3 for o in tx.outputs)")
    assert sum(map(wanted, entries)) == decoded.count("tx") == len(decoded)


def test_what_stands_before_may_save_the_decoding(decoded):
    """`and` and `or` ask for the right side only if the left has not decided."""
    entries = fresh()
    decoded.clear()
    assert not any(map(parse("size > 1000000 and tx.lock_time > 3"), entries))
    assert all(map(parse("size >= 0 or tx.lock_time > 3"), entries))
    assert decoded == []


def test_a_block_is_not_made_plain_for_one_field(decoded, monkeypatch):
    """Blocks are large: a dictionary of all their transactions costs far more than a header."""

    def unwanted(self):
        pytest.fail("a whole dictionary was made")

    monkeypatch.setattr("lbcproxy.wire.record.Record.to_dict", unwanted)
    wanted = parse('block.hash =~ "^0" or any(o.value > 10 for o in block.transactions[0].outputs)')
    assert any(map(wanted, fresh()))


def test_bytes_that_are_no_message_have_no_command():
    """Junk can be looked for: its command is null, as `-T ndjson` prints it."""
    junk = entry(junk=b"abc", why="no magic")
    assert parse("command == null")(junk)
    assert parse('error == "no magic" and size == 3')(junk)
    for text in ("inv", 'command =~ ""', "tx.lock_time >= 0", "tx.claims"):
        assert not parse(text)(junk)
    assert parse("not inv")(junk)


def test_a_long_message_that_passed_in_parts_has_no_fields():
    """It was not kept; what its header says is known."""
    codec = Codec(NETWORK)
    long = entry(Message("block", Direction.TO_CLIENT, b"\0" * 256, codec, length=1 << 20))
    assert parse("block and size == 1048576")(long)
    assert not parse("block.transactions")(long)
    assert not parse("len(block.transactions) >= 0")(long)


def test_verdicts_and_trails_can_be_asked_for():
    """What was done to a message, and who did it."""
    dropped = entry(verdict="drop", trail=("quiet: too many", "other"))
    for text in (
        'verdict == "drop"',
        "trail",
        'any(t =~ "^quiet" for t in trail)',
        "len(trail)==2",
    ):
        assert parse(text)(dropped)
        assert not parse(text)(entry())


def test_a_malformed_message_has_no_fields_and_an_error():
    """As everywhere: it passes, and says what is wrong."""
    session = Session(1, NETWORK)
    raw = frame(NETWORK.magic, "ping", b"123")
    [delivery] = session.receive(Direction.TO_UPSTREAM, raw, 0)
    [ping] = delivery.entries
    assert parse('ping and error =~ "nonce"')(ping)
    assert not parse("ping.nonce >= 0")(ping)
    assert not parse("ping.nonce == null or ping.nonce != null")(ping)


def test_a_record_whose_code_fails_is_not_a_match(monkeypatch):
    """A user's own message may have a defect; the traffic goes on."""

    class Broken:
        command = "tx"
        codec = Codec(NETWORK)

        @property
        def record(self):
            raise RuntimeError("a defect")

    broken = msgspec.structs.replace(entry(), message=Broken())
    assert not parse("tx.lock_time > 3")(broken)
    assert not parse("not tx.lock_time > 3")(broken)


def test_one_filter_is_asked_in_several_threads():
    """Its variables belong to the question, not to the filter."""
    text = (
        "any(o.value > 33200000 for t in block.transactions for o in t.outputs if t.lock_time == 0)"
    )
    wanted = parse(text)
    entries = fresh()
    once = [wanted(each) for each in entries]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: [wanted(each) for each in entries], range(16)))
    assert found == [once] * 16


def test_a_long_list_of_alternatives_is_not_deep():
    """A thousand transaction ids, out of a script, are one question after another."""
    some = [each for each in fresh() if each.command == "tx"][3:6]
    ids = [each.message.record.txid[::-1].hex() for each in some]
    text = " or ".join(f'tx.txid == "{each}"' for each in ["0" * 64] * 100 + ids)
    wanted = parse(text)
    assert [each.message.record for each in fresh() if wanted(each)] == [
        each.message.record for each in some
    ]
    assert wanted.commands == {"tx"}
    assert parse(" and ".join(["size >= 0"] * 700))(some[0])


def test_a_filter_shows_what_it_is():
    """In a log, or when debugging a plugin."""
    wanted = parse("inv or tx")
    assert isinstance(wanted, Filter)
    assert (repr(wanted), wanted.text) == ("<Filter inv or tx>", "inv or tx")
