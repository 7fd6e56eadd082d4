"""`lbcproxy decode`: one payload to JSON, or a reason why not."""

import json

import pytest

NONCE = "0700000000000000"
# A transaction without inputs: in the witness encoding their number is the marker.
TX = "01000000000101000000000000000000000000"


def test_a_payload_becomes_json(lbcproxy):
    """The names are those of `to_dict`."""
    ended = lbcproxy("decode", "--network", "lbry-regtest", "ping", NONCE)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {"nonce": 7}


def test_a_payload_becomes_a_tree(lbcproxy):
    """`-V` as in `show`."""
    ended = lbcproxy("decode", "--network", "lbry-regtest", "-V", "ping", NONCE)
    assert ended.lines == ["nonce: 7"]


def test_a_dash_reads_standard_input(lbcproxy):
    """A block does not fit on a command line; line ends in the text do not matter."""
    text = f"{NONCE[:8]}\n{NONCE[8:]}\n"
    ended = lbcproxy("decode", "--network", "lbry-regtest", "ping", "-", stdin=text)
    assert json.loads(ended.out) == {"nonce": 7}


def test_the_protocol_version_matters(lbcproxy):
    """Up to 60000 a ping has no nonce."""
    options = ("--network", "lbry-regtest", "--protocol-version", "60000")
    ended = lbcproxy("decode", *options, "ping", "")
    assert json.loads(ended.out) == {"nonce": None}


@pytest.mark.parametrize(("encoding", "code"), [("base", 0), ("witness", 1), ("auto", 0)])
def test_the_encoding_matters(lbcproxy, encoding, code):
    """No inputs: in the base encoding a transaction, in the other a witness marker."""
    options = ("--network", "bitcoin-mainnet", "--encoding", encoding)
    assert lbcproxy("decode", *options, "tx", TX).code == code


def test_the_chain_matters(lbcproxy, captures):
    """An LBRY header has 112 bytes: read as Bitcoin's it is nonsense, and bytes are left."""
    block = lbcproxy(
        "show", "-T", "fields", "-e", "command", "-e", "payload", captures / "lbcd-sync.pcap"
    )
    payload = next(line.split("\t")[1] for line in block.lines if line.startswith("block\t"))
    lbry = lbcproxy("decode", "--network", "lbry-regtest", "block", payload)
    assert len(json.loads(lbry.out)["transactions"]) == 1
    bitcoin = lbcproxy("decode", "--network", "bitcoin-regtest", "block", payload)
    assert "claim_trie" not in json.loads(bitcoin.out)["header"]
    assert "trailing bytes" in bitcoin.err


def test_trailing_bytes_are_reported_separately(lbcproxy):
    """They are not an error, but must not go unnoticed."""
    ended = lbcproxy("decode", "--network", "lbry-regtest", "getaddr", "abcd")
    # getaddr is empty: two bytes are above its maximum, which is refused unread.
    assert ended.code == 1
    ended = lbcproxy("decode", "--network", "lbry-regtest", "sendcmpct", "000100000000000000ff")
    assert ended.code == 0
    assert ended.err == "lbcproxy: 1 trailing bytes: ff\n"


def test_a_malformed_payload_says_where_and_why(lbcproxy):
    """The field, the byte, the reason."""
    ended = lbcproxy("decode", "--network", "lbry-regtest", "inv", "0101000000ff")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "lbcproxy: inventory[0].hash at byte 5: 32 bytes needed, 1 left\n"


def test_an_unknown_command_fails(lbcproxy):
    """Nothing is guessed."""
    ended = lbcproxy("decode", "--network", "lbry-regtest", "nope", "")
    assert (ended.code, ended.out) == (1, "")
    assert "unknown command 'nope'" in ended.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("ping", NONCE), "Missing option '--network'"),
        (("--network", "lbry-nope", "ping", NONCE), "no network 'lbry-nope'; known: bitcoin-main"),
        (("--network", "lbry-regtest", "ping", "xyz"), "HEX: non-hexadecimal number found"),
        (("--network", "lbry-regtest", "ping"), "Missing argument 'HEX'"),
        (("--network", "lbry-regtest", "--protocol-version", "-1", "ping", ""), "-1 is not in"),
    ],
)
def test_wrong_usage_says_what_is_wrong(lbcproxy, arguments, text):
    """Exit code 2, and a hint where to read on."""
    ended = lbcproxy("decode", *arguments)
    assert ended.code == 2
    assert text in ended.err
    assert ended.err.splitlines()[-1] == "Hint: see `lbcproxy decode --help`"
