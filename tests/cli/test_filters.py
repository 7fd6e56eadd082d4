"""Filters of `show` and `run`: which messages are printed, and what a wrong filter ends in."""

import json
from pathlib import Path

import pytest

MODE = ("--network", "lbry-regtest", "--mode", "reverse:127.0.0.1:1@0")


def numbers(ended):
    """Return the numbers of the objects that were printed."""
    assert ended.code == 0, ended.err
    return [json.loads(line)["number"] for line in ended.lines]


@pytest.mark.parametrize(
    "words",
    [
        ("tx",),
        ("tx or inv",),
        ("tx", "or", "inv"),
        ("-x", "tx", "or", "inv", "-V"),
        ("size > 300 and not block",),
        ('any(c.name =~ "^clip" for c in tx.claims)',),
    ],
    ids=" ".join,
)
def test_lines_are_those_of_the_messages_it_matches(lbcproxy, captures, words):
    """As text, as a tree and in hexadecimal; with or without quotes."""
    path = captures / "lbcd-probe.pcap"
    options = [word for word in words if word.startswith("-")]
    text = " ".join(word for word in words if not word.startswith("-"))
    wanted = numbers(lbcproxy("show", "-T", "ndjson", path, text))
    assert 0 < len(wanted) < 100
    every = [json.loads(line) for line in lbcproxy("show", "-T", "ndjson", path).lines]
    commands = [each["command"] for each in every if each["number"] in wanted]
    lines = [line for line in lbcproxy("show", path, *words).lines if line.startswith("#")]
    assert [line.split()[2] for line in lines] == commands
    if "-V" in options:
        assert len(lbcproxy("show", path, *words).lines) > len(lines)


def test_fields_are_those_of_the_messages_it_matches(lbcproxy, captures):
    """A filter and `-T fields` make a table."""
    ended = lbcproxy(
        *("show", captures / "lbcd-probe.pcap", "-T", "fields", "-e", "message.user_agent"),
        'version.user_agent =~ "spv" and direction == "to_upstream"',
    )
    assert set(ended.lines) == {"/spv-probe:1.0/"}


def test_claims_are_those_of_lbcd_in_filters_and_lists(lbcproxy):
    """Of the scripts on which the two once differed, in transactions."""
    cases = Path(__file__).parents[1] / "cases"
    path = cases / "claims-vs-lbcd.pcap"
    answers = (cases / "claim-scripts.txt").read_text().splitlines()
    are = {line.partition("\t")[2]: "lbcd: none" not in line for line in answers}
    objects = [json.loads(line) for line in lbcproxy("show", "-T", "ndjson", path, "tx").lines]
    wanted = []
    for each in objects:
        [output] = each["message"]["outputs"]
        assert ("claims" in each) == are[output["script_pubkey"]]
        wanted += [each["number"]] if "claims" in each else []
    assert len(objects) == len(answers)
    assert numbers(lbcproxy("show", "-T", "ndjson", path, "tx.claims")) == wanted
    empty = numbers(lbcproxy("show", "-T", "ndjson", path, 'any(c.name == "" for c in tx.claims)'))
    assert len(empty) == 2


def test_filters_can_select_by_address(lbcproxy, captures):
    """Entries do not contain the addresses of their session."""
    path = captures / "lbcd-sync.pcap"
    assert len(lbcproxy("show", path, 'client == "127.0.0.1:32946"').lines) == 400
    assert lbcproxy("show", path, 'client != "127.0.0.1:32946"').lines == []


@pytest.mark.parametrize("begin", [("show", "captures/lbcd-sync.pcap"), ("run", *MODE)], ids=str)
def test_an_invalid_filter_is_a_usage_error(lbcproxy, tmp_path, monkeypatch, begin):
    """Exit code 2 and the position of the error, before anything starts."""
    monkeypatch.chdir(tmp_path)
    ended = lbcproxy(*begin, "inv", "or", "tx.outptus")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines() == [
        "lbcproxy: in the filter: tx has no field 'outptus'; did you mean outputs?",
        "    inv or tx.outptus",
        "              ^",
        "Hint: there are version, inputs, outputs, lock_time, mweb, txid, wtxid, addresses, claims",
    ]
    assert list(tmp_path.iterdir()) == []


def test_fields_of_other_networks_are_refused(lbcproxy, captures):
    """Of a chain that was named, more is known."""
    path = captures / "lbcd-sync.pcap"
    ended = lbcproxy("show", "--network", "bitcoin-regtest", path, "tx.claims")
    assert ended.code == 2
    assert "bitcoin-regtest has no claims" in ended.err
