"""tshark with our dissector and `lbcproxy show -T ndjson`: the same fields, all of them."""

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from lbcproxy import networks
from lbcproxy.networks import Network, all_networks
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.claim_scripts import claim_script
from tests.tools import REPOSITORY
from tests.vector_files import load, payload_of
from tests.wireshark.captured import write
from tests.wireshark.judging import compared, dissected, printed, run_tshark

pytestmark = pytest.mark.slow

CAPTURES = [REPOSITORY / "captures" / name for name in ("lbcd-sync.pcap", "lbcd-probe.pcap")]
CASES = REPOSITORY / "tests" / "cases"
HUGE = 300_000
"""Bytes of payload above which one of a kind has to do: tshark prints 1 MB/s."""
VERSIONS = (70013, 209, 31402, 60000, 70002)
MUTATIONS = 1_000


def shared(network: Network) -> tuple[str, ...]:
    """Tell the dissector whose simnet or signet is meant."""
    family = {"lbry": "LBRY", "bitcoin": "Bitcoin", "litecoin": "Litecoin"}[network.family]
    return ("-o", f"lbry.shared:{family}")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_real_captures_have_the_same_fields(tmp_path: Path, path: Path):
    """What an LBRY node said to another, in Wireshark as in our own list."""
    assert compared(tmp_path, path) > 100


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_only_what_we_call_malformed_is_malformed(tmp_path: Path, path: Path):
    """And Wireshark agrees with itself in one and in two passes."""
    arguments = ("-Y", "_ws.malformed || lbry.error", "-T", "fields", "-e", "lbry.error")
    found = run_tshark(tmp_path, path, *arguments).split("\n")[:-1]
    assert sorted(found) == sorted(each["error"] for each in printed(path) if each["error"])
    once, twice = (run_tshark(tmp_path, path, "-O", "lbry", *passes) for passes in ((), ("-2",)))
    assert once == twice


def vectors_of(network: Network) -> list[tuple[int, list[bytes]]]:
    """Return all vectors of a network, good and bad, but for huge ones, by protocol version."""
    sessions: dict[int, list[bytes]] = defaultdict(list)
    streams = []
    for vector in (*load("vectors"), *load("bad_vectors")):
        if vector["network"] != network.id:
            continue
        if vector.get("level") == "stream":
            streams.append((vector["pver"], [bytes.fromhex(vector["stream_hex"])]))
            continue
        payload = payload_of(vector)
        if len(payload) <= HUGE:
            raw = frame(network.magic, vector["command"], payload)
            sessions[vector["pver"]].append(raw)
    return [*sessions.items(), *streams]


@pytest.mark.parametrize("network", all_networks().values(), ids=lambda network: network.id)
def test_every_vector_has_the_same_fields(tmp_path: Path, network: Network, count):
    """Every message under every protocol version, and of each refusal the same words."""
    sessions = vectors_of(network)
    if not sessions:  # lbry-signet's are those of lbry-simnet, and it has the same rules
        simnet = vectors_of(networks.get("lbry-simnet"))
        sessions = [
            (version, [network.magic + each[4:] for each in frames]) for version, frames in simnet
        ]
    path = write(tmp_path / "vectors.pcapng", network, sessions)
    for _ in range(compared(tmp_path, path, *shared(network))):
        count("vectors: the same fields in Wireshark as in ndjson")


def test_what_litecoin_core_made_has_the_same_fields(tmp_path: Path):
    """MWEB data as one field, and ids that do not cover them; whole, and cut anywhere."""
    network = networks.get("litecoin-regtest")
    made = json.loads((REPOSITORY / "tests" / "vectors" / "litecoin.json").read_text())
    frames = []
    for vector in (each for each in made.values() if isinstance(each, dict)):
        payload = bytes.fromhex(vector["payload_hex"])
        cuts = (*range(0, len(payload), 97), *range(len(payload) - 9, len(payload) + 1))
        frames += [frame(network.magic, vector["command"], payload[:size]) for size in cuts]
    path = write(tmp_path / "litecoin.pcapng", network, [(70016, frames)])
    assert compared(tmp_path, path, *shared(network)) > 100


def test_claims_are_the_same_as_in_python(tmp_path: Path):
    """Those that lbcd was asked about, and many that are nearly claims."""
    network, chance = networks.get("lbry-regtest"), random.Random("claims")
    scripts = [claim_script(chance) for _ in range(800)]
    for line in (CASES / "claim-scripts.txt").read_text().splitlines():
        scripts.append(bytes.fromhex(line.partition("\t")[2]))
    codec = Codec(network, 70013)
    inputs = (TxIn(bytes(32), 0, b"", 0),)
    payloads = [
        codec.encode(Tx(1, inputs, tuple(TxOut(1, each) for each in scripts[n : n + 20]), 0))
        for n in range(0, len(scripts), 20)
    ]
    frames = [frame(network.magic, "tx", each) for each in payloads]
    path = write(tmp_path / "claims.pcapng", network, [(70013, frames)])
    assert compared(tmp_path, path) == len(frames) + 2
    assert sum(len(each.claims) for each in dissected(tmp_path, path)) > 100
    compared(tmp_path, CASES / "claims-vs-lbcd.pcap")


def test_the_largest_messages_have_the_same_fields(tmp_path: Path):
    """50,000 inventory vectors, 100,000 hashes: nothing is left out."""
    network = networks.get("lbry-mainnet")
    largest: dict[str, bytes] = {}
    for vector in load("vectors"):
        payload = payload_of(vector)
        if vector["network"] == network.id and len(payload) > HUGE:
            largest[vector["command"]] = payload
    chosen = [frame(network.magic, name, largest[name]) for name in ("inv", "cfcheckpt")]
    path = write(tmp_path / "largest.pcapng", network, [(70013, chosen)])
    assert compared(tmp_path, path) == 4


def mutated(payload: bytes, chance: random.Random) -> bytes:
    """Change a payload in a few places."""
    data = bytearray(payload)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            data[place : place + 1] = chance.randbytes(1)
        elif kind == 1:
            data[place : place + 1] = bytes((chance.choice((0, 1, 0xFC, 0xFD, 0xFE, 0xFF)),))
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + chance.randrange(1, 9)]
        elif kind == 4:
            data[place:place] = chance.randbytes(chance.randrange(1, 9))
        else:
            data[place:place] = data[chance.randrange(len(data) + 1) :][: chance.randrange(1, 200)]
    return bytes(data)


def mutations(network: Network, chance: random.Random) -> list[bytes]:
    """Return frames of a network whose payloads are not quite those of good messages."""
    good: list[tuple[str, bytes]] = [
        (vector["command"], payload)
        for vector in load("vectors")
        if networks.get(vector["network"]).family == network.family
        and len(payload := payload_of(vector)) < 3_000
    ]
    frames = []
    for _ in range(MUTATIONS):
        command, payload = chance.choice(good)
        if chance.random() < 0.05:
            command = chance.choice(good)[0]
        frames.append(frame(network.magic, command, mutated(payload, chance)))
    return frames


@pytest.mark.parametrize("name", ["lbry-mainnet", "bitcoin-mainnet"])
def test_any_payload_is_read_or_refused_alike(tmp_path: Path, name: str):
    """The same fields where lbcproxy reads it; where not, the same reason, place and byte."""
    network = networks.get(name)
    frames = mutations(network, random.Random(name))
    sessions = [(version, frames[n :: len(VERSIONS)]) for n, version in enumerate(VERSIONS)]
    path = write(tmp_path / "mutated.pcapng", network, sessions)
    assert MUTATIONS / 20 < compared(tmp_path, path) < MUTATIONS
    errors = [each["error"] for each in printed(path)]
    assert len(set(errors)) > 100


@pytest.mark.parametrize("name", ["lbry-mainnet", "bitcoin-mainnet"])
def test_any_bytes_in_any_packets_have_the_same_messages(tmp_path: Path, name: str):
    """Headers that are wrong, frames that are cut, bytes between: no Lua error, no hang."""
    network = networks.get(name)
    chance = random.Random(f"{name} raw")
    sessions: list[tuple[int, list[bytes]]] = []
    for _ in range(4):
        frames = mutations(network, chance)[: MUTATIONS // 4]
        data = bytearray(b"".join(frames))
        for _ in range(60):
            place = chance.randrange(len(data))
            if chance.random() < 0.7:
                data[place] = chance.randrange(256)
            else:
                del data[place : place + chance.randrange(1, 60)]
        cuts = sorted(chance.randrange(len(data)) for _ in range(80))
        parts = [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        sessions.append((70013, parts))
    path = write(tmp_path / "raw.pcapng", network, sessions, apart=True)
    compared(tmp_path, path)
    assert len(dissected(tmp_path, path, "-o", "lbry.bitcoin:TRUE")) > 20


def test_a_difference_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The comparison of all this can fail, for a value, a count and a field that is not there."""
    real: Any = printed

    def lies(path: Path) -> list[dict[str, Any]]:
        entries = real(path)
        for entry in entries:
            message = entry["message"] or {}
            if entry["command"] == "tx":
                message["outputs"][-1]["value"] += 1
            elif entry["command"] == "inv":
                message["inventory"].pop()
            elif entry["command"] == "ping":
                message["more"] = 1
        return entries

    monkeypatch.setattr("tests.wireshark.judging.printed", lies)
    with pytest.raises(AssertionError) as caught:
        compared(tmp_path, CAPTURES[1])
    for words in ("tx.outputs.value", "inv.inventory.count", "ping.more"):
        assert f"lbry.{words}" in str(caught.value)
