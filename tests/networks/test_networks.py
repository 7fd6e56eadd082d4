"""The networks: numbers that nobody may get wrong."""

import hashlib

import pytest

from lbcproxy import networks
from lbcproxy.wire.hashes import display

GENESIS = {
    "lbry-mainnet": "9c89283ba0f3227f6c03b70216b9f665f0118d5e0fa729cedf4fb34d6a34f463",
    "lbry-testnet": "9c89283ba0f3227f6c03b70216b9f665f0118d5e0fa729cedf4fb34d6a34f463",
    "lbry-regtest": "6e3fcf1299d4ec5d79c3a4c91d624a4acf9e2e173d95a1a0504f677669687556",
    "lbry-simnet": "9d7bc9ea4823ec061e3b376dd48c4ff3e0fe9fc94a76da1a141948588dc549bb",
    "lbry-signet": "4e5599684e547d454f1c12b57de4a1105bb1931b32c72c41affecd4f5ac4ea5d",
    "bitcoin-mainnet": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "bitcoin-testnet3": "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
    "bitcoin-testnet4": "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    "bitcoin-signet": "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
    "bitcoin-regtest": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
    "bitcoin-simnet": "683e86bd5c6d110d91b94b97137ba6bfe02dbbdb8e3dff722a669b5d69d77af6",
    "litecoin-mainnet": "12a765e31ffd4059bada1e25190f6e98c99d9714d334efa41a195a7e7e04bfe2",
    "litecoin-testnet": "4966625a4b2851d9fdee139e56211a0d88575f59ed816ff5e6a63deb4e3e29a0",
    "litecoin-regtest": "530827f38f93b43ed12af0b3ad25a288dc02ed74d6d7857862df51fc56c416f9",
}


def test_every_network_is_there():
    """The ids are public: options, captures, other people's scripts."""
    assert set(networks.all_networks()) == set(GENESIS)


@pytest.mark.parametrize(("name", "block_id"), GENESIS.items())
def test_genesis_header_has_the_known_id(name, block_id):
    """One wrong byte in a header, and the id is another."""
    genesis = networks.get(name).genesis
    once = hashlib.sha256(genesis).digest()
    assert display(hashlib.sha256(once).digest()) == block_id
    assert len(genesis) == networks.get(name).rules.header


@pytest.mark.parametrize(
    ("name", "magic", "port"),
    [
        ("lbry-mainnet", "fae4aaf1", 9246),
        ("lbry-testnet", "fae4aae1", 19246),
        ("lbry-regtest", "fae4aad1", 29246),
        ("lbry-simnet", "161c1412", 39246),
        ("lbry-signet", "0a03cf40", 39246),
        ("bitcoin-mainnet", "f9beb4d9", 8333),
        ("bitcoin-testnet3", "0b110907", 18333),
        ("bitcoin-testnet4", "1c163f28", 48333),
        ("bitcoin-signet", "0a03cf40", 38333),
        ("bitcoin-regtest", "fabfb5da", 18444),
        ("bitcoin-simnet", "161c1412", 18555),
        ("litecoin-mainnet", "fbc0b6db", 9333),
        ("litecoin-testnet", "fdd2c8f1", 19335),
        ("litecoin-regtest", "fabfb5da", 19444),
    ],
)
def test_magic_and_port(name, magic, port):
    """What the first four bytes of every frame are, and where nodes listen."""
    network = networks.get(name)
    assert (network.magic.hex(), network.port) == (magic, port)


def test_an_error_lists_the_networks_there_are():
    """A mistyped name should be mended at the first try."""
    with pytest.raises(KeyError, match="known: .*lbry-mainnet"):
        networks.get("lbry-main")


def test_other_names_are_known():
    """Bitcoin's testnet is called testnet3 only since there is a fourth."""
    assert networks.get("bitcoin-testnet").id == "bitcoin-testnet3"


def test_two_chains_share_the_magics_of_simnet_and_signet():
    """So a chain is chosen and never guessed."""
    for magic in ("161c1412", "0a03cf40"):
        families = {network.family for network in networks.with_magic(bytes.fromhex(magic))}
        assert families == {"lbry", "bitcoin"}
    assert len(networks.with_magic(bytes.fromhex("fae4aaf1"))) == 1


def test_a_magic_that_two_networks_have_may_mean_one_of_them():
    """Bitcoin's regtest had it first."""
    regtest = bytes.fromhex("fabfb5da")
    assert {each.id for each in networks.with_magic(regtest)} == {
        "bitcoin-regtest",
        "litecoin-regtest",
    }
    meant = networks.meant_by(regtest)
    assert meant is not None
    assert meant.id == "bitcoin-regtest"
    assert networks.meant_by(bytes.fromhex("161c1412")) is None
    assert networks.meant_by(bytes.fromhex("fbc0b6db")) is networks.get("litecoin-mainnet")
    assert networks.meant_by(bytes(4)) is None


DEFAULT_CHALLENGE = (
    "512103ad5e0edad18cb1f0fc0d28a3d4f1f3e445640337489abb10404f2d1e086be430"
    "210359ef5021964fe22d6f8e05b2463c9540ce96883fe3b278760f048f5189f2e6c452ae"
)


def test_the_challenge_of_the_default_signet_gives_its_magic():
    """BIP325: the hash is of the script after its length."""
    signet = networks.custom("bitcoin-signet", signet_challenge=DEFAULT_CHALLENGE)
    assert signet is networks.get("bitcoin-signet")


@pytest.mark.parametrize(
    ("challenge", "magic"), [("51", "54d26fbd"), ("00" * 0xFC, None), ("00" * 0xFD, None)]
)
def test_another_challenge_gives_another_network(challenge, magic):
    """OP_TRUE, a signet on which anyone may make blocks, and challenges around 253 bytes."""
    signet = networks.custom("bitcoin-signet", signet_challenge=challenge)
    script = bytes.fromhex(challenge)
    size = bytes((len(script),)) if len(script) < 0xFD else b"\xfd\xfd\0"
    once = hashlib.sha256(size + script).digest()
    expected = hashlib.sha256(once).digest()[:4]
    assert signet.magic == expected
    assert magic is None or expected.hex() == magic
    assert signet.id == f"bitcoin-signet@{expected.hex()}"
    assert (signet.port, signet.family) == (38333, "bitcoin")


def test_a_network_with_a_magic_of_its_own_is_found_by_its_id():
    """Captures name their network by its id alone."""
    own = networks.custom("bitcoin-regtest", magic="DEADBEEF")
    assert own.id == "bitcoin-regtest@deadbeef"
    assert networks.get(own.id) == own
    assert own.magic == bytes.fromhex("deadbeef")
    assert own.rules is networks.get("bitcoin-regtest").rules
    assert networks.custom("bitcoin-regtest", magic="fabfb5da").id == "bitcoin-regtest"
    assert networks.custom(own.id, magic="01020304").id == "bitcoin-regtest@01020304"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "bitcoin-regtest", "magic": "xyz"}, "'xyz' is not a magic: 8 hexadecimal"),
        ({"name": "bitcoin-regtest", "magic": ""}, "is not a magic"),
        ({"name": "bitcoin-regtest", "magic": "0102030405"}, "is not a magic"),
        ({"name": "bitcoin-regtest", "signet_challenge": "51"}, "only bitcoin-signet has"),
        ({"name": "bitcoin-signet", "signet_challenge": "5"}, "'5' is not hexadecimal"),
        ({"name": "bitcoin-signet", "signet_challenge": ""}, "is empty"),
        ({"name": "bitcoin-signet", "signet_challenge": "51", "magic": "01020304"}, "not both"),
    ],
)
def test_what_no_network_can_have_is_refused(arguments, words):
    """In words that say what is right."""
    with pytest.raises(ValueError, match=words):
        networks.custom(**arguments)
    with pytest.raises(KeyError, match="is not a magic"):
        networks.get("bitcoin-regtest@nothex00")
