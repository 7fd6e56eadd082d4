"""ElligatorSwift in plain Python, as BIP324 defines it: slow, and a judge of the library.

Numbers are integers modulo the prime of secp256k1. Nothing here is constant-time.
"""

from __future__ import annotations

P = 2**256 - 2**32 - 977
C = pow(-3 % P, (P + 1) // 4, P)
"""The square root of -3 that the BIP uses: the one that is itself a square."""


def root(number: int) -> int | None:
    """Return the square root that is a square, or None."""
    number %= P
    found = pow(number, (P + 1) // 4, P)
    return found if found * found % P == number else None


def is_x(x: int) -> bool:
    """Whether a number is the x coordinate of a point."""
    return root((x**3 + 7) % P) is not None


def decode(u: int, t: int) -> int:
    """Return the x coordinate that a pair encodes (XSwiftEC)."""
    u, t = u % P or 1, t % P or 1
    if (u**3 + t**2 + 7) % P == 0:
        t = 2 * t % P
    x = (u**3 + 7 - t**2) * pow(2 * t, -1, P) % P
    y = (x + t) * pow(C * u, -1, P) % P
    for candidate in (u + 4 * y**2, (-x * pow(y, -1, P) - u) * pow(2, -1, P), _third(x, y, u)):
        if is_x(candidate % P):
            return candidate % P
    raise AssertionError("one of the three is always on the curve")


def _third(x: int, y: int, u: int) -> int:
    return (x * pow(y, -1, P) - u) * pow(2, -1, P)


def decode_bytes(encoded: bytes) -> bytes:
    """Return the x coordinate in 64 bytes."""
    x = decode(int.from_bytes(encoded[:32]), int.from_bytes(encoded[32:]))
    return x.to_bytes(32)


def inverse(x: int, u: int, case: int) -> int | None:
    """Return the t with which u encodes x in one of eight cases (XSwiftECInv), or None."""
    half = pow(2, -1, P)
    if case & 2:
        s = (x - u) % P
        r = root(-s * (4 * (u**3 + 7) + 3 * s * u**2)) if s else None
        if r is None or (case & 1 and not r):
            return None
        v = (r * pow(s, -1, P) - u) * half
    else:
        if is_x((-x - u) % P):
            return None
        v = x
        s = -(u**3 + 7) * pow(u**2 + u * v + v**2, -1, P) % P
    w = root(s)
    if w is None:
        return None
    found = w * (u * (1 + C if case & 1 else 1 - C) * half + v)
    return (found if case & 5 in (1, 4) else -found) % P
