"""Networks whose magic is another's too, or one of their own, through the commands."""

import json
from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.networks import Network
from lbcproxy.wire.envelope import frame
from tests.wireshark.captured import write

SIGNET = networks.custom("bitcoin-signet", signet_challenge="51")
SAID = (("--signet-challenge", "51"), ("--network", "bitcoin-signet", "--magic", "54D26FBD"))


def captured(path: Path, network: Network) -> Path:
    """Record a handshake and a ping."""
    return write(path, network, [(70013, [frame(network.magic, "ping", b"12345678")])])


@pytest.fixture
def as_pcap(lbcproxy, tmp_path):
    """Have a capture that does not name its network."""

    def make(network: Network) -> Path:
        source = captured(tmp_path / "named.pcapng", network)
        path = tmp_path / "foreign.pcap"
        assert lbcproxy("convert", source, path).code == 0
        return path

    return make


def test_a_capture_of_ours_names_its_own_network(lbcproxy, tmp_path):
    """Nothing need be said to read it."""
    shown = lbcproxy("show", captured(tmp_path / "own.pcapng", SIGNET))
    assert (shown.code, shown.err) == (0, "")
    assert "ping" in shown.lines[-1]


@pytest.mark.parametrize("said", SAID)
def test_other_captures_need_a_network_option(lbcproxy, as_pcap, said):
    """By challenge or by magic; the same messages come of it."""
    path = as_pcap(SIGNET)
    assert lbcproxy("show", path).code != 0
    shown = lbcproxy("show", *said, path)
    assert shown.code == 0
    assert "ping" in shown.out
    [info] = map(json.loads, lbcproxy("info", "-T", "json", *said, path).lines)
    assert info["networks"] == ["bitcoin-signet@54d26fbd"]
    assert sum(each["count"] for each in info["messages"].values()) == 3


def test_a_shared_magic_is_assumed_to_be_bitcoins_with_a_notice(lbcproxy, as_pcap):
    """A notice names the other network, and the option that chooses it."""
    path = as_pcap(networks.get("litecoin-regtest"))
    words = (
        "magic fabfb5da is taken for that of bitcoin-regtest; it is that of litecoin-regtest too: "
        "--network says which"
    )
    shown = lbcproxy("show", path)
    assert (shown.code, shown.err) == (0, f"lbcproxy: {words}\n")
    [info] = map(json.loads, lbcproxy("info", "-T", "json", path).lines)
    assert (info["networks"], info["assumed"]) == (["bitcoin-regtest"], [words])
    done = lbcproxy("show", "--network", "litecoin-regtest", path)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (["--magic", "01020304"], "--magic: --network must name the chain that uses this magic"),
        (["--network", "bitcoin-signet", "--magic", "0102"], "--magic: '0102' is not a magic"),
        (["--signet-challenge", "xx"], "--signet-challenge: 'xx' is not hexadecimal"),
        (["--network", "lbry-mainnet", "--signet-challenge", "51"], "only bitcoin-signet has"),
        (["--network", "nowhere", "--magic", "01020304"], "--network: no network 'nowhere'"),
    ],
)
def test_an_impossible_network_is_a_usage_error(lbcproxy, said, words):
    """The error names the wrong option."""
    done = lbcproxy("decode", *said, "ping", "0102030405060708")
    assert done.code == 2
    assert words in done.err
