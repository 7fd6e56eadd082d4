"""Scripts that are claims, or nearly: what lbcd and all our readers must judge alike."""

from random import Random

from hypothesis import strategies as st

__all__ = ["claim_script", "claim_scripts"]

CLEARED = (b"\x6d\x75", b"\x6d\x6d", b"\x6d\x75\x51", b"\x6d\x6d\x51", b"\x6d", b"\x6d\x6d\x6d\x75")
ALPHABET = b"abcz\n\x00\x80\xff"
"""Few of them make UTF-8: Wireshark and Python know other versions of Unicode."""
OPCODES = (0x00, 0x4F, 0x50, 0x51, 0x60, 0x61, 0x6D, 0x75, 0x76, 0xB5, 0xFF)


def claim_script(chance: Random) -> bytes:
    """Return a script that begins with a claim opcode; about every fifth is a claim."""
    script = bytes((chance.choice((0xB5, 0xB6, 0xB7)),)) + _token(chance)
    if script[0] != 0xB5 and chance.random() < 0.8:
        script += _push(chance.randbytes(20), chance)
    if chance.random() < 0.9:
        script += _token(chance)
    script += chance.choice(CLEARED) + chance.choice((b"", chance.randbytes(3)))
    return script[: chance.randrange(len(script) + 1)] if chance.random() < 0.15 else script


def claim_scripts() -> st.SearchStrategy[bytes]:
    """Return a strategy of such scripts."""
    return st.integers(0, 2**32).map(lambda seed: claim_script(Random(seed)))


def _token(chance: Random) -> bytes:
    kind = chance.randrange(12)
    if kind < 3:
        return bytes((chance.choice(OPCODES),))
    if kind == 3:
        return bytes((chance.randrange(256),))
    long = chance.choice((19, 21, 40, 75, 76, 254, 255, 256, 300))
    size = {
        **dict.fromkeys((4, 5, 6), chance.choice((0, 1, 2, 5))),
        **dict.fromkeys((7, 8, 9), 20),
        10: long,
        11: chance.choice((8150, 8160, 8170, 8180)) + chance.randrange(-8, 9),
    }[kind]
    return _push(bytes(chance.choices(ALPHABET, k=size)), chance)


def _push(data: bytes, chance: Random) -> bytes:
    """Return a push of some bytes, not always the shortest."""
    width = next(each for each in (0, 1, 2) if len(data) < (76, 256, 65536)[each])
    width = max(width, chance.choice((0, 0, 0, 0, 1, 2, 3)))
    if width == 0:
        return bytes((len(data),)) + data
    return bytes((0x4B + width,)) + len(data).to_bytes(1 << (width - 1), "little") + data
