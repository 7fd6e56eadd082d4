"""Key logs: what is needed to read recorded encrypted connections.

A key log is a text file with a line for each connection:

    BIP324_SHARED_SECRET <initiator's public key> <shared secret> <magic>

All fields are hexadecimal: 64 bytes, 32 bytes, 4 bytes. The public key is what the side that opened
the connection sends first, in ElligatorSwift encoding, so it finds the connection in a capture. The
shared secret is the input of the key derivation, which also needs the magic of the network. Empty
lines, lines that begin with #, and lines with other labels are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from lbcproxy.transport.curve import PUBLIC_KEY_SIZE

__all__ = ["LABEL", "KeyLog", "LoggedSecret", "format_line"]

LABEL = "BIP324_SHARED_SECRET"
_LINE = re.compile(r"\S+ ([0-9a-f]{128}) ([0-9a-f]{64}) ([0-9a-f]{8})", re.IGNORECASE)


class LoggedSecret(NamedTuple):
    """What a key log says about a connection."""

    public_key: bytes
    """The public key of the side that opened the connection, 64 bytes."""
    secret: bytes
    """The shared secret, 32 bytes."""
    magic: bytes
    """The magic of the network."""

    def __repr__(self) -> str:
        """Return text without the secret."""
        return f"{type(self).__name__}({self.public_key[:4].hex()}...)"


def format_line(logged: LoggedSecret) -> str:
    """Return the line of a connection, with its newline."""
    return f"{LABEL} {' '.join(each.hex() for each in logged)}\n"


class KeyLog:
    """The secrets of a key log, by public key.

    Args:
        lines: The lines of the file.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._secrets: dict[bytes, LoggedSecret] = {}
        self.bad_lines: list[int] = []
        """The numbers of lines that have the label and not the form."""
        for number, line in enumerate(lines, start=1):
            if line.upper().split(maxsplit=1)[:1] != [LABEL]:
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                self.bad_lines.append(number)
            else:
                logged = LoggedSecret(*map(bytes.fromhex, match.groups()))
                self._secrets[logged.public_key] = logged

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self._secrets)

    def find(self, start: bytes) -> LoggedSecret | None:
        """Return the secret of a connection by the first bytes of the side that opened it."""
        return self._secrets.get(start[:PUBLIC_KEY_SIZE])
