"""Each operator and name, on what two lbcd nodes really said."""

import functools

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.filters import BadFilter, parse
from lbcproxy.networks import output_address
from lbcproxy.resources import folder
from lbcproxy.session import SessionInfo
from lbcproxy.wire.claims import claims_of
from lbcproxy.wire.hashes import display

NETWORK = networks.get("lbry-regtest")


@functools.cache
def entries(name):
    """Return the entries of one of the captures that lbcproxy comes with."""
    return tuple(open_capture(folder("captures") / f"{name}.pcap"))


def both():
    """Return the entries of both."""
    return entries("lbcd-sync") + entries("lbcd-probe")


def record(entry, command):
    """Return an entry's record, if it has that command."""
    return entry.message.record if entry.command == command else None


def txs(entry):
    """Return the transaction of a `tx`, as a list."""
    found = record(entry, "tx")
    return [] if found is None else [found]


def blocks(entry):
    """Return the block of a `block`, as a list."""
    found = record(entry, "block")
    return [] if found is None else [found]


def claims(transactions):
    """Return their claims."""
    return [claim for _, claim in claims_of(transactions)]


TX = next(tx for entry in both() for tx in txs(entry) if claims((tx,)))
ADDRESS = output_address(TX.outputs[0].script_pubkey, NETWORK)
NAME = claims((TX,))[0].name
ID = claims((TX,))[0].claim_id
TXID = display(TX.txid)
TIME = "2026-11-23T07:42:33.751460464Z"

CASES = {
    # a command's name
    "inv": lambda e: e.command == "inv",
    "inv or tx": lambda e: e.command in ("inv", "tx"),
    "not inv": lambda e: e.command != "inv",
    'command == "inv"': lambda e: e.command == "inv",
    '"inv" == command': lambda e: e.command == "inv",
    'command != "inv"': lambda e: e.command != "inv",
    'command in ("ping", "pong")': lambda e: e.command in ("ping", "pong"),
    'command in ["ping"]': lambda e: e.command == "ping",
    'command not in ("ping", "pong")': lambda e: e.command not in ("ping", "pong"),
    '"get" in command': lambda e: "get" in e.command,
    'command =~ "^get"': lambda e: e.command.startswith("get"),
    # what every entry has
    'direction == "to_client"': lambda e: e.direction == "to_client",
    "session == 1": lambda e: e.session == 1,
    "number == 7": lambda e: e.number == 7,
    "size > 300": lambda e: e.length > 300,
    "size >= 0": lambda e: True,
    "length < 37": lambda e: e.length < 37,
    "size <= 36 + 1": lambda e: e.length <= 37,
    "36 < size < 200": lambda e: 36 < e.length < 200,
    "size * 2 - 1 > 73": lambda e: e.length * 2 - 1 > 73,
    "-size < -300": lambda e: e.length > 300,
    f'time == "{TIME}"': lambda e: e.time_ns == 1795419753751460464,
    f'time > "{TIME}"': lambda e: e.time_ns > 1795419753751460464,
    'time < "2026-11-23T08:42:34+01:00"': lambda e: e.time_ns < 1795419754 * 10**9,
    'time >= "2026-11-23"': lambda e: True,
    'verdict == "pass"': lambda e: True,
    'verdict != "pass"': lambda e: False,
    "trail": lambda e: False,
    '"quiet" in trail': lambda e: False,
    '"quiet" not in trail': lambda e: True,
    "error": lambda e: e.error is not None,
    "error == null": lambda e: e.error is None,
    "error != null": lambda e: e.error is not None,
    'error =~ "bytes needed"': lambda e: "bytes needed" in (e.error or ""),
    'network == "lbry-regtest"': lambda e: True,
    "true": lambda e: True,
    "false": lambda e: False,
    # without the session's info
    'client == "127.0.0.1:32946"': lambda e: False,
    'client != "127.0.0.1:32946"': lambda e: False,
    # fields
    'version.user_agent =~ "LBRY"': lambda e: b"LBRY" in _agent(e),
    'version.user_agent =~ "(?i)lbry\\.go"': lambda e: b"LBRY.GO" in _agent(e),
    '"btcwire" in version.user_agent': lambda e: b"btcwire" in _agent(e),
    "version.start_height > 0": lambda e: (r := record(e, "version")) and r.start_height > 0,
    "version.relay == null": lambda e: (r := record(e, "version")) and r.relay is None,
    "version.relay == false": lambda e: (r := record(e, "version")) and r.relay is False,
    "version.relay": lambda e: (r := record(e, "version")) and r.relay is True,
    'version.addr_recv.ip == "127.0.0.1"': lambda e: (
        (r := record(e, "version")) and r.addr_recv.ip.endswith(bytes((127, 0, 0, 1)))
    ),
    "version.addr_from == null": lambda e: (r := record(e, "version")) and r.addr_from is None,
    "version.addr_from": lambda e: (r := record(e, "version")) and r.addr_from is not None,
    'reject.message == "tx"': lambda e: (r := record(e, "reject")) and r.message == b"tx",
    # lists
    "len(inv.inventory) > 1": lambda e: (r := record(e, "inv")) and len(r.inventory) > 1,
    "inv.inventory[0].type == 2": lambda e: (r := record(e, "inv")) and r.inventory[0].type == 2,
    "inv.inventory[400].type > 0": lambda e: (r := record(e, "inv")) and len(r.inventory) > 400,
    "tx.inputs[-1].sequence == 4294967295": lambda e: any(
        tx.inputs[-1].sequence == 0xFFFFFFFF for tx in txs(e)
    ),
    "any(o.value > 100000 for o in tx.outputs)": lambda e: any(
        o.value > 100000 for tx in txs(e) for o in tx.outputs
    ),
    "any(o.value > 100000 for o in tx.outputs if o.value != 5)": lambda e: any(
        o.value > 100000 for tx in txs(e) for o in tx.outputs
    ),
    "all(o.value > 100000 for o in tx.outputs)": lambda e: any(
        all(o.value > 100000 for o in tx.outputs) for tx in txs(e)
    ),
    "not any(o.value > 100000 for o in tx.outputs) and tx": lambda e: any(
        all(o.value <= 100000 for o in tx.outputs) for tx in txs(e)
    ),
    "len([o for o in tx.outputs if o.value > 5]) == len(tx.outputs)": lambda e: any(
        all(o.value > 5 for o in tx.outputs) for tx in txs(e)
    ),
    "sum(o.value for o in tx.outputs) > 1e8": lambda e: any(
        sum(o.value for o in tx.outputs) > 1e8 for tx in txs(e)
    ),
    "any(t.lock_time == 0 for t in block.transactions)": lambda e: any(
        t.lock_time == 0 for b in blocks(e) for t in b.transactions
    ),
    "any(o.value == 33200000 for tx in block.transactions for o in tx.outputs)": lambda e: any(
        o.value == 33200000 for b in blocks(e) for t in b.transactions for o in t.outputs
    ),
    "any(any(o.value == 33200000 for o in t.outputs) for t in block.transactions)": lambda e: any(
        o.value == 33200000 for b in blocks(e) for t in b.transactions for o in t.outputs
    ),
    "any(h.timestamp > 0 for h in headers.headers)": lambda e: (
        (r := record(e, "headers")) and any(h.timestamp > 0 for h in r.headers)
    ),
    'any(w =~ "^30" for i in tx.inputs for w in i.witness)': lambda e: any(
        w[:1] == b"\x30" for tx in txs(e) for i in tx.inputs for w in i.witness
    ),
    # ids, addresses, claims
    f'tx.txid == "{TXID}"': lambda e: any(display(tx.txid) == TXID for tx in txs(e)),
    f'tx.txid == "{TXID.upper()}"': lambda e: any(display(tx.txid) == TXID for tx in txs(e)),
    f'tx.txid in ("{TXID}", "{"0" * 64}")': lambda e: any(display(t.txid) == TXID for t in txs(e)),
    'tx.txid =~ "^A"': lambda e: any(display(tx.txid)[0] == "a" for tx in txs(e)),
    f'block.hash =~ "^{"0" * 2}"': lambda e: any(b.header.hash[-1] == 0 for b in blocks(e)),
    "block.header.hash == block.hash": lambda e: bool(blocks(e)),
    "block.header.hash != block.header.pow_hash": lambda e: bool(blocks(e)),
    f'"{TXID}" in [t.txid for t in block.transactions]': lambda e: any(
        display(t.txid) == TXID for b in blocks(e) for t in b.transactions
    ),
    f'any(v.hash == "{TXID}" for v in inv.inventory)': lambda e: (
        (r := record(e, "inv")) and any(display(v.hash) == TXID for v in r.inventory)
    ),
    f'"{ADDRESS}" in tx.addresses': lambda e: any(_pays(tx) for tx in txs(e)),
    f'"{ADDRESS}" not in tx.addresses': lambda e: any(not _pays(tx) for tx in txs(e)),
    f'"{ADDRESS}" in block.addresses': lambda e: any(
        _pays(tx) for b in blocks(e) for tx in b.transactions
    ),
    f'any(o.address == "{ADDRESS}" and o.value > 0 for o in tx.outputs)': lambda e: any(
        _pays(tx) for tx in txs(e)
    ),
    f'any(a in tx.addresses for a in ("{ADDRESS}", "x"))': lambda e: any(
        _pays(tx) for tx in txs(e)
    ),
    'any(p in command for p in ["in", "pong"])': lambda e: "in" in e.command or e.command == "pong",
    "tx.claims": lambda e: bool(claims(txs(e))),
    f'any(c.name == "{NAME}" for c in tx.claims)': lambda e: any(
        c.name == NAME for c in claims(txs(e))
    ),
    f'any(c.claim_id == "{ID}" for c in tx.claims)': lambda e: any(
        c.claim_id == ID for c in claims(txs(e))
    ),
    f'any(c.name == "{NAME}" for c in block.claims)': lambda e: any(
        c.name == NAME for b in blocks(e) for c in claims(b.transactions)
    ),
    'any(c.kind == "claim" for c in block.claims)': lambda e: any(
        c.kind == "claim" for b in blocks(e) for c in claims(b.transactions)
    ),
    'len(tx.claims) > 2 and not any(c.name =~ "[^a-z0-9-]" for c in tx.claims)': lambda e: (
        len(claims(txs(e))) > 2
    ),
}
NONE_IN_THE_CAPTURES = {
    *("version.relay == false", "version.addr_from == null", f'"{ADDRESS}" not in tx.addresses'),
    'any(w =~ "^30" for i in tx.inputs for w in i.witness)',
    *('verdict != "pass"', "trail", '"quiet" in trail', "false", "inv.inventory[400].type > 0"),
    *('client == "127.0.0.1:32946"', 'client != "127.0.0.1:32946"'),
}


def _agent(entry):
    found = record(entry, "version")
    return b"" if found is None else found.user_agent or b""


def _pays(tx):
    return any(output_address(each.script_pubkey, NETWORK) == ADDRESS for each in tx.outputs)


@pytest.mark.parametrize("text", CASES)
def test_an_expression_means_what_it_says(text):
    """The same entries as Python finds by hand, in two captures of real nodes."""
    wanted = parse(text, NETWORK)
    found = [entry.number for entry in both() if wanted(entry)]
    by_hand = [entry.number for entry in both() if CASES[text](entry)]
    assert found == by_hand


@pytest.mark.parametrize("text", CASES)
def test_what_it_can_match_is_known_before(text):
    """No entry is matched whose command the filter says it cannot match."""
    wanted = parse(text, NETWORK)
    matched = {entry.command for entry in both() if wanted(entry)}
    assert wanted.commands is None or matched <= wanted.commands


def test_the_cases_have_something_to_find():
    """A filter that matches nothing proves little; most match some entries and not others."""
    idle = set()
    for text in CASES:
        if not any(map(parse(text), both())):
            idle.add(text)
    assert idle - NONE_IN_THE_CAPTURES == set()


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("inv", {"inv"}),
        ("not inv", None),
        ("inv or tx", {"inv", "tx"}),
        ("inv and size > 3", {"inv"}),
        ("inv or size > 3", None),
        ("inv and tx", set()),
        ("not (not inv or size > 3)", {"inv"}),
        ('command in ("ping", "pong")', {"ping", "pong"}),
        ('command not in ("ping", "pong")', None),
        ('command =~ "^get"', None),
        ("tx.claims", {"tx"}),
        ("not tx.claims", None),
        ("tx.lock_time != 3", {"tx"}),
        ("all(o.value > 3 for o in tx.outputs)", {"tx"}),
        ("len(tx.outputs) + 1 > len(tx.inputs)", {"tx"}),
        ("tx.lock_time == ping.nonce", set()),
        ("any(x for x in trail)", None),
        ("true", None),
        ("false", set()),
        ('"a" in block.addresses or feefilter.min_fee > 3', {"block", "feefilter"}),
    ],
)
def test_the_commands_it_can_match(text, commands):
    """A proxy asks before a message's first byte whether anybody will want to read it."""
    found = parse(text).commands
    assert found == (None if commands is None else frozenset(commands))


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("inv", False),
        ('size > 3 and direction == "to_client" and client =~ "1"', False),
        ('command == "tx" and time > "2026-01-01" and trail', False),
        ("tx.lock_time > 3", True),
        ("inv or any(o.value > 3 for o in tx.outputs)", True),
        ("error", True),
    ],
)
def test_whether_the_payload_is_needed(text, needed):
    """The same question in Python."""
    assert parse(text).needs_record is needed


def test_the_facts_of_a_session_can_be_asked_for():
    """Who talks to whom is not in an entry."""
    entry = entries("lbcd-probe")[0]
    info = SessionInfo(
        number=1,
        network="lbry-regtest",
        client=Endpoint("10.0.0.7", 4000),
        listen=Endpoint("127.0.0.1", 9246),
        upstream=Endpoint("::1", 29246),
    )
    for text in ('client == "10.0.0.7:4000"', 'upstream =~ "^\\[::1]:"', 'listen =~ ":9246$"'):
        assert parse(text)(entry, info)
        assert not parse(text)(entry)


def test_a_capture_tells_between_whom_its_sessions_are():
    """So `show` has the same names as `run`."""
    capture = open_capture(folder("captures") / "lbcd-sync.pcap")
    wanted = parse('client =~ "^127.0.0.1:" and upstream == "127.0.0.1:29300"')
    found = [wanted(entry, capture.stats.open_sessions.get(entry.session)) for entry in capture]
    assert found == [True] * 400


def test_what_a_chain_does_not_have_is_refused():
    """On Bitcoin nobody waits for a claim."""
    bitcoin = networks.get("bitcoin-mainnet")
    for text in ("tx.claims", "block.claims", 'block.header.claim_trie == "a"'):
        with pytest.raises(BadFilter, match="bitcoin-mainnet has no claim"):
            parse(text, bitcoin)
    parse('any(o.address == "1" for o in tx.outputs)', bitcoin)
