"""Send malformed messages, to see how a node reacts.

Usage: lbcproxy run ... -s "malform commands=inv,tx how=checksum each=10"

`how` is checksum, magic, length (one too many), truncate (the payload lacks its last byte, in a
valid frame) or trailing (one byte after the payload, in a valid frame).
"""

from typing import Literal

from lbcproxy.plugin import Plugin, Raw, Replace
from lbcproxy.wire.envelope import frame


class Malform(Plugin):
    """Malform every nth message of some commands."""

    commands: str
    how: Literal["checksum", "magic", "length", "truncate", "trailing"] = "checksum"
    each: int = 1

    def __init__(self):
        self.count = 0

    def asks_for(self):
        return self.commands.split(",")

    def on_message(self, session, message):
        self.count += 1
        if self.count % self.each:
            return None
        return Replace(Raw(self._malformed(message)), why=f"{self.how} malformed on purpose")

    def _malformed(self, message):
        raw = bytearray(message.raw)
        if self.how == "checksum":
            raw[20] ^= 0xFF
        elif self.how == "magic":
            raw[0] ^= 0xFF
        elif self.how == "length":
            raw[16:20] = (message.length + 1).to_bytes(4, "little")
        elif self.how == "truncate":
            return frame(bytes(raw[:4]), message.command, message.payload[:-1])
        else:
            return frame(bytes(raw[:4]), message.command, message.payload + b"\0")
        return bytes(raw)
