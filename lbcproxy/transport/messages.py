"""Messages in the contents of packets (BIP324): a type, then the payload.

A type is one byte for common commands, or a zero and twelve bytes of command as in a v1 frame. Both
forms mean the same, so a message becomes the v1 frame of its command, and the form is a note on it.
"""

from __future__ import annotations

from typing import NamedTuple

from lbcproxy.wire.envelope import HEADER_SIZE, raw_frame

__all__ = [
    "MAX_CONTENTS",
    "SHORT_IDS",
    "V2Message",
    "contents_of",
    "frame_of",
    "is_unknown_type",
    "is_usual",
    "parse_contents",
]

MAX_CONTENTS = 2**24 - 1
"""Bytes of contents that the format allows; nodes allow about four million."""

SHORT_IDS: dict[int, str] = dict(
    enumerate(
        (
            *("addr", "block", "blocktxn", "cmpctblock", "feefilter", "filteradd", "filterclear"),
            *("filterload", "getblocks", "getblocktxn", "getdata", "getheaders", "headers", "inv"),
            *("mempool", "merkleblock", "notfound", "ping", "pong", "sendcmpct", "tx"),
            *("getcfilters", "cfilter", "getcfheaders", "cfheaders", "getcfcheckpt", "cfcheckpt"),
            "addrv2",
        ),
        start=1,
    )
)
"""The commands that have a type of one byte."""

_IDS = {command: number for number, command in SHORT_IDS.items()}
_UNKNOWN = "v2-id-"
"""An unknown short type is shown as a command with this name and the number."""
_LONG_SIZE = 13
_COMMANDS = {bytes((number,)): command.encode() for number, command in SHORT_IDS.items()}
"""The commands by their type."""


class V2Message(NamedTuple):
    """What the contents of a packet hold."""

    raw_command: bytes
    """The command, up to 12 bytes; padding is kept if the type was long."""
    payload: bytes
    short_id: int | None
    """The type if it was short."""

    @property
    def is_known(self) -> bool:
        """Whether a v1 frame can say the same: not with a short type that has no command."""
        return self.short_id is None or self.short_id in SHORT_IDS

    def frame(self, magic: bytes) -> bytes:
        """Return the message as a v1 frame."""
        return raw_frame(magic, self.raw_command, self.payload)


def parse_contents(contents: bytes) -> V2Message | None:
    """Return the message in the contents of a packet; None if they are too short for a type."""
    if not contents:
        return None
    short_id = contents[0]
    if short_id:
        command = SHORT_IDS.get(short_id) or f"{_UNKNOWN}{short_id}"
        return V2Message(command.encode(), contents[1:], short_id)
    if len(contents) < _LONG_SIZE:
        return None
    return V2Message(contents[1:_LONG_SIZE], contents[_LONG_SIZE:], None)


def is_unknown_type(command: str) -> bool:
    """Whether a command stands for a short type that is unknown, so that no v1 frame can say it."""
    return command.startswith(_UNKNOWN) and _unknown_id(command) is not None


def is_usual(contents: bytes) -> bool:
    """Whether the v1 frame of contents determines them: a known short type, or none exists."""
    if not contents or contents[0]:
        return contents[:1] in _COMMANDS
    if len(contents) < _LONG_SIZE:
        return False
    command = contents[1:_LONG_SIZE].rstrip(b"\0").decode("latin-1")
    return command not in _IDS and not is_unknown_type(command)


def frame_of(magic: bytes, contents: bytes) -> bytes:
    """Return the v1 frame of contents that are usual; see `is_usual`."""
    if command := _COMMANDS.get(contents[:1]):
        return raw_frame(magic, command, contents[1:])
    return raw_frame(magic, contents[1:_LONG_SIZE], contents[_LONG_SIZE:])


def contents_of(raw_frame: bytes, *, short: bool = True) -> bytes:
    """Return the contents of a packet for the message in a v1 frame.

    Args:
        raw_frame: The frame, with its header.
        short: Whether to use a short type if the command has one.
    """
    raw_command, payload = raw_frame[4:16], raw_frame[HEADER_SIZE:]
    command = raw_command.rstrip(b"\0").decode("latin-1")
    short_id = _IDS.get(command) if short else None
    if short_id is None and is_unknown_type(command):
        short_id = _unknown_id(command)
    if short_id is not None:
        return bytes((short_id,)) + payload
    return b"\0" + raw_command + payload


def _unknown_id(command: str) -> int | None:
    """Return the number in the name of an unknown short type, if it is one."""
    number = command.removeprefix(_UNKNOWN)
    if not number.isdecimal() or not 0 < int(number) < 256 or int(number) in SHORT_IDS:
        return None
    return int(number)
