"""Cut a stream of bytes into frames.

Knows the header and nothing of what payloads mean. Never raises on bad input: what is not a frame
comes out as `Junk`, so that a tap can pass and record it. Feeding a stream in any split gives the
same items.

Junk is every byte from where no frame begins up to the next magic. It is cut into items by what
it holds, never by how it arrived: a whole frame of another network is one item, other junk is cut
each 64 KiB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import HEADER_SIZE, Header, checksum, command_problem, unpack
from lbcproxy.wire.registry import OPAQUE, record_of
from lbcproxy.wire.rules import MAX_PAYLOAD, Chain
from lbcproxy.wire.scan import known_commands, scan

__all__ = ["Frame", "FrameEnd", "FramePart", "FrameStart", "Framer", "Item", "Junk", "Run"]

JUNK_PIECE = 65_536
COMMAND_END = 16


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A whole frame as it stood on the wire."""

    command: str
    """The name, without padding; each byte a character."""
    raw: bytes
    """Header and payload."""
    error: str | None = None
    """What is wrong with it as a frame (form or size of the command, checksum), or None."""

    @property
    def payload(self) -> bytes:
        """The bytes behind the header."""
        return self.raw[HEADER_SIZE:]


class Junk(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no frame."""

    raw: bytes
    why: str
    """Why they are none."""


class FrameStart(msgspec.Struct, frozen=True, gc=False):
    """The header of a long frame, whose payload follows in parts."""

    command: str
    length: int
    """Bytes of payload to come."""
    raw: bytes


class FramePart(msgspec.Struct, frozen=True, gc=False):
    """Some of a long frame's payload."""

    raw: bytes


class FrameEnd(msgspec.Struct, frozen=True, gc=False):
    """The end of a long frame."""

    error: str | None = None
    """As of `Frame`; also that the stream ended before the frame did."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Whole frames that came together, with nothing wrong in any."""

    raw: bytes
    commands: list[str]
    ends: list[int]
    """Where in `raw` each ends."""

    def each(self) -> Iterator[Frame]:
        """Give them one by one."""
        begin = 0
        for command, end in zip(self.commands, self.ends, strict=True):
            yield Frame(command, self.raw[begin:end])
            begin = end


Item: TypeAlias = Frame | Junk | FrameStart | FramePart | FrameEnd | Run


class Framer:
    """Cut one direction of a connection into frames.

    With `stream_above`, frames with a longer payload come as `FrameStart`, `FramePart`s and
    `FrameEnd`, and junk comes as it arrives; joined they are what comes without it. With `apart`,
    sound frames of all commands but these come as a `Run` where several arrive together. `begins`
    is False for a stream that is met in its middle: it has no frame before a magic with a command
    behind it. Frames of the commands in `whole` are given whole however long they are. Holds at
    most one frame, of at most 32 MiB (without) or `stream_above` bytes (with), and only bytes that
    did arrive.
    """

    def __init__(
        self,
        network: Chain,
        stream_above: int | None = None,
        *,
        begins: bool = True,
        apart: frozenset[str] | None = None,
        whole: frozenset[str] = frozenset(),
    ) -> None:
        self._magic = network.magic
        self._codec = Codec(network)
        self.give(stream_above, apart, whole)
        self._buffer = bytearray()
        self._scanned = 1  # how far the buffer holds no magic behind its first byte
        self._opening = begins
        # Of another kind, or in the middle of a message: a chance magic begins no frame.
        self._wary = not begins
        self._long: _LongFrame | None = None
        self.cut: list[Item] = []
        """What a read that has failed halfway was cut into before that."""

    def give(
        self,
        stream_above: int | None,
        apart: frozenset[str] | None = None,
        whole: frozenset[str] = frozenset(),
    ) -> None:
        """Have frames come otherwise from the next on."""
        self._stream_above = stream_above
        self._whole = whole
        self._in_runs = apart is not None
        self._known = known_commands(self._codec.network, stream_above, apart or frozenset())

    @property
    def buffered(self) -> int:
        """Bytes held because they do not complete an item yet."""
        return len(self._buffer)

    @property
    def memory(self) -> int:
        """Bytes of memory that takes: a buffer that grows has more than it needs."""
        return self._buffer.__alloc__()

    def held(self) -> bytes:
        """Take out the bytes that do not complete an item, for who gives the stream up."""
        return self._take(len(self._buffer))

    def release(self) -> bytearray:
        """Take out the same without a copy, for which there may be no memory."""
        held, self._buffer = self._buffer, bytearray()
        self._scanned, self._opening = 1, False
        return held

    @property
    def astray(self) -> str:
        """Why what is held cannot be the beginning of a frame; empty if it can."""
        if len(self._buffer) < len(self._magic) or self._buffer.startswith(self._magic):
            return ""
        return self._why_junk()

    def passes(self, data: bytes) -> bool:
        """Whether all of what comes next is of frames in parts, as their headers alone tell."""
        if self._buffer or self._opening or self._wary:
            return False
        place = 0 if self._long is None else self._long.left
        while place < len(data):
            head = data[place : place + HEADER_SIZE]
            if len(head) < HEADER_SIZE or not head.startswith(self._magic):
                return False
            header = unpack(head)
            if header.length > MAX_PAYLOAD or not self._is_long(header):
                return False
            place += HEADER_SIZE + header.length
        return True

    def let_go(self) -> list[Item]:
        """Give what is held of a frame, if anything, as its beginning: the rest comes in parts.

        For who has no more memory to hold it whole.
        """
        if len(self._buffer) < HEADER_SIZE or not self._buffer.startswith(self._magic):
            return []
        start = self._start(unpack(self._buffer))
        assert self._long is not None
        part = self._continue(self._long)
        return [start] if part is None else [start, part]

    def feed(self, data: bytes) -> list[Item]:
        """Take bytes as they came and give back what they complete, in order."""
        items: list[Item] = []
        self.cut = items
        if data and self._long is not None and not self._buffer:  # needs no copy in the buffer
            part = data[: self._long.left]
            self._long.add(part)
            items.append(FramePart(part))
            data = data[len(part) :]
        self._buffer += data
        while True:
            run = self._run()
            if run is not None and self._in_runs:
                items.append(run)
            elif run is not None:
                items += run.each()
            item = self._next()
            if item is None:
                self.cut = []
                return items
            items.append(item)

    def close(self) -> list[Item]:
        """Give what is left when the stream ends: an unfinished frame, or junk."""
        if self._long is not None:
            end = FrameEnd(f"cut off, {self._long.left} bytes missing")
            self._long = None
            return [end]
        if not self._buffer:
            return []
        return [self._junk(len(self._buffer), self._what_is_left())]

    def _what_is_left(self) -> str:
        if not self._buffer.startswith(self._magic[: len(self._buffer)]):
            return self._why_junk()
        if len(self._buffer) < HEADER_SIZE:
            return f"cut off, {HEADER_SIZE - len(self._buffer)} bytes of a header missing"
        header = unpack(self._buffer)
        missing = HEADER_SIZE + header.length - len(self._buffer)
        return f"{header.command!r} cut off, {missing} bytes missing"

    def _run(self) -> Run | None:
        if self._long is not None or len(self._buffer) < HEADER_SIZE:
            return None
        names, ends = scan(self._buffer, self._magic, self._known)
        if not ends:
            return None
        self._wary = False
        return Run(self._take(ends[-1]), names, ends)

    def _next(self) -> Item | None:
        if self._long is not None:
            return self._continue(self._long)
        size = len(self._buffer)
        if size < len(self._magic):
            return None
        if not self._buffer.startswith(self._magic) or self._is_chance(0):
            return self._next_junk()
        if size < HEADER_SIZE:
            return None
        self._wary = False
        header = unpack(self._buffer)
        if header.length > MAX_PAYLOAD:
            why = f"{header.command!r} claims {header.length} bytes, at most {MAX_PAYLOAD} allowed"
            return self._junk(HEADER_SIZE, why)
        if self._is_long(header):
            return self._start(header)
        if size < HEADER_SIZE + header.length:
            return None
        return self._frame(header)

    def _is_long(self, header: Header) -> bool:
        if self._stream_above is None or header.length <= self._stream_above:
            return False
        return header.command not in self._whole

    def _frame(self, header: Header) -> Frame:
        raw = self._take(HEADER_SIZE + header.length)
        error = self._problem(header)
        if error is None:
            error = _checksum_problem(header.checksum, checksum(raw[HEADER_SIZE:]))
        return Frame(header.command, raw, error)

    def _problem(self, header: Header) -> str | None:
        """Say what the header alone shows to be wrong."""
        problem = command_problem(header.raw_command)
        if problem is None and record_of(header.command) is None and header.command not in OPAQUE:
            problem = f"unknown command {header.command!r}"
        return problem or self._codec.refusal(header.command, header.length)

    def _start(self, header: Header) -> FrameStart:
        self._long = _LongFrame(header, self._problem(header))
        return FrameStart(header.command, header.length, self._take(HEADER_SIZE))

    def _continue(self, long: _LongFrame) -> FramePart | FrameEnd | None:
        if long.left == 0:
            self._long = None
            return FrameEnd(long.error())
        if not self._buffer:
            return None
        part = self._take(min(long.left, len(self._buffer)))
        long.add(part)
        return FramePart(part)

    def _next_junk(self) -> Junk | None:
        """Give the next item of junk, once it is sure where it ends."""
        if self._opening and len(self._buffer) < COMMAND_END:
            return None  # why it is junk is said of these bytes
        self._wary = self._wary or (self._opening and not self._is_named())
        end = self._buffer.find(self._magic, self._scanned)
        while end >= 0 and self._is_chance(end):
            end = self._buffer.find(self._magic, end + 1)
        if self._stream_above is not None:
            sure = end if end >= 0 else self._not_magic()
            return self._junk(sure, self._why_junk()) if sure else None
        limit = self._junk_limit()
        if self._wary and 0 <= end > len(self._buffer) - COMMAND_END:
            sure = end  # what follows that magic will tell whether it is one
        elif 0 <= end <= limit:
            return self._junk(end, self._why_junk())
        else:
            sure = self._not_magic()
        if sure >= limit:
            return self._junk(limit, self._why_junk())
        self._scanned = max(1, sure)
        return None

    def _junk_limit(self) -> int:
        """Where junk without a magic is cut: behind a whole frame of another network, or 64 KiB."""
        if len(self._buffer) < HEADER_SIZE:
            return JUNK_PIECE
        header = unpack(self._buffer)
        if header.length > JUNK_PIECE or command_problem(header.raw_command) is not None:
            return JUNK_PIECE
        return HEADER_SIZE + header.length

    def _not_magic(self) -> int:
        """Count the bytes that cannot be the beginning of a magic, whatever comes next."""
        size = len(self._buffer)
        for held in (3, 2, 1):
            if size >= held and self._buffer.endswith(self._magic[:held]):
                return size - held
        return size

    def _is_named(self, place: int = 0) -> bool:
        """Whether a command stands where a frame that begins at a place would have it."""
        return command_problem(bytes(self._buffer[place + 4 : place + COMMAND_END])) is None

    def _is_chance(self, place: int) -> bool:
        """Whether a magic is one by chance: in a stream of another kind, with no command behind."""
        whole = len(self._buffer) >= place + COMMAND_END
        return self._wary and whole and not self._is_named(place)

    def _why_junk(self) -> str:
        if self._opening and not self._is_named():
            return (
                "the stream begins with neither the network's magic nor a command "
                "(BIP324 or another protocol): passed unread"
            )
        return f"{bytes(self._buffer[:4]).hex()} is not the network's magic {self._magic.hex()}"

    def _junk(self, size: int, why: str) -> Junk:
        return Junk(self._take(size), why)

    def _take(self, size: int) -> bytes:
        if size == len(self._buffer):
            data = bytes(self._buffer)
            self._buffer = bytearray()
        else:
            with memoryview(self._buffer) as view:
                data = bytes(view[:size])  # copied once: it may be 32 MiB
            del self._buffer[:size]
        self._scanned = 1
        self._opening = False
        return data


class _LongFrame:
    """A long frame of which some has passed."""

    def __init__(self, header: Header, problem: str | None) -> None:
        self._header = header
        self._problem = problem
        self._hash: Any = hashlib.sha256()
        self.left = header.length

    def add(self, part: bytes) -> None:
        self._hash.update(part)
        self.left -= len(part)

    def error(self) -> str | None:
        digest = hashlib.sha256(self._hash.digest()).digest()
        return self._problem or _checksum_problem(self._header.checksum, digest[:4])


def _checksum_problem(claimed: bytes, real: bytes) -> str | None:
    if claimed == real:
        return None
    return f"checksum is {claimed.hex()}, should be {real.hex()}"
