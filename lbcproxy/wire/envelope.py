"""The 24 bytes before every payload: magic, command, length, checksum.

Offsets 0, 4, 16 and 20; numbers little endian. lbcd `wire/message.go`.
"""

from __future__ import annotations

import struct

import msgspec

from lbcproxy.wire.hashes import sha256d

__all__ = [
    "HEADER_SIZE",
    "Header",
    "checksum",
    "command_problem",
    "frame",
    "is_sound",
    "raw_frame",
    "unpack",
]

HEADER_SIZE = 24
_HEADER = struct.Struct("<4s12sI4s")


class Header(msgspec.Struct, frozen=True, gc=False):
    """A frame's header, its values unchecked."""

    magic: bytes
    raw_command: bytes
    """The 12 bytes of the command, padding included."""
    length: int
    """Size of the payload in bytes, as the sender claims."""
    checksum: bytes

    @property
    def command(self) -> str:
        """The command without trailing NULs; each byte is one character, so nothing is lost."""
        return self.raw_command.rstrip(b"\0").decode("latin-1")


def unpack(data: bytes | bytearray, offset: int = 0) -> Header:
    """Return the header at an offset; there must be 24 bytes."""
    return Header(*_HEADER.unpack_from(data, offset))


def checksum(payload: bytes | bytearray) -> bytes:
    """Return the checksum of a payload: the first four bytes of its SHA-256d."""
    return sha256d(bytes(payload))[:4]


def is_sound(whole: bytes) -> bool:
    """Return whether a frame of at least 24 bytes has the length and checksum of its header."""
    header, payload = unpack(whole), whole[HEADER_SIZE:]
    return header.length == len(payload) and header.checksum == checksum(payload)


def frame(magic: bytes, command: str, payload: bytes) -> bytes:
    """Return a payload with its header; raises ValueError if the command exceeds 12 bytes."""
    raw = command.encode("latin-1")
    if len(raw) > 12:
        raise ValueError(f"command {command!r} is longer than 12 bytes")
    return raw_frame(magic, raw, payload)


def raw_frame(magic: bytes, raw_command: bytes, payload: bytes) -> bytes:
    """Return a payload with its header; the command has up to 12 bytes, and is padded."""
    return _HEADER.pack(magic, raw_command, len(payload), sha256d(payload)[:4]) + payload


def command_problem(raw_command: bytes) -> str | None:
    """Return what is malformed in a command, or None (Core `net.cpp`, IsCommandValid)."""
    name = raw_command.rstrip(b"\0")
    if not name:
        return "empty command"
    if b"\0" in name:
        return "command continues after a NUL"
    if not all(0x20 <= byte <= 0x7E for byte in name):
        return "command is not printable ASCII"
    return None
