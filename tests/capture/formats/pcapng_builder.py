"""Builds pcapng files block by block, independently of the writer."""

import struct

PEN = 32473


class Builder:
    """Builds blocks in one byte order."""

    def __init__(self, order: str = "<") -> None:
        self.order = order

    def pack(self, form: str, *values: int) -> bytes:
        """Pack in this byte order."""
        return struct.pack(self.order + form, *values)

    def block(self, kind: int, body: bytes) -> bytes:
        """A block with its length at both ends."""
        body += bytes(-len(body) % 4)
        length = self.pack("I", len(body) + 12)
        return self.pack("I", kind) + length + body + length

    def options(self, *options: tuple[int, bytes]) -> bytes:
        """Options and their end, or nothing at all."""
        each = [
            self.pack("HH", code, len(value)) + value + bytes(-len(value) % 4)
            for code, value in options
        ]
        return b"".join(each) + bytes(4 if each else 0)

    def section(self, *options: tuple[int, bytes], major: int = 1) -> bytes:
        """A section header of unknown length."""
        body = self.pack("IHHq", 0x1A2B3C4D, major, 0, -1)
        return self.block(0x0A0D0D0A, body + self.options(*options))

    def interface(self, *options: tuple[int, bytes], link: int = 101, snap: int = 0) -> bytes:
        """An interface."""
        return self.block(1, self.pack("HHI", link, 0, snap) + self.options(*options))

    def packet(
        self, data: bytes, *options: tuple[int, bytes], time: int = 0, interface: int = 0
    ) -> bytes:
        """An enhanced packet block."""
        high, low = divmod(time, 2**32)
        body = self.pack("IIIII", interface, high, low, len(data), len(data)) + data
        return self.block(6, body + bytes(-len(data) % 4) + self.options(*options))

    def custom(self, text: str, pen: int = PEN) -> tuple[int, bytes]:
        """A custom option with text."""
        return 2988, self.pack("I", pen) + text.encode()


LITTLE, BIG = Builder("<"), Builder(">")
