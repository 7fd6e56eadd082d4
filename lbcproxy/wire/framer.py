"""Cut a stream of bytes into frames.

The framer reads headers only, not payloads. It never raises on invalid input: bytes that are not
a frame come out as `Junk`, so that a proxy can forward and record them. The items do not depend
on how the stream was split.

Junk reaches from the first byte that does not begin a frame up to the next magic. How it is cut
depends on its content only: a complete frame of another network is one item, other junk is cut
every 64 KiB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from lbcproxy.deprecated import DeprecatedAttribute, renamed_parameters
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import HEADER_SIZE, Header, checksum, command_problem, unpack
from lbcproxy.wire.junk import COMMAND_END, end_before_magic, has_valid_command, junk_limit
from lbcproxy.wire.registry import OPAQUE, record_of
from lbcproxy.wire.rules import MAX_PAYLOAD, Chain
from lbcproxy.wire.scan import known_commands, scan

__all__ = ["Frame", "FrameEnd", "FramePart", "FrameStart", "Framer", "Junk", "Run", "StreamItem"]


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A complete frame."""

    command: str
    """The name without padding; each byte is one character."""
    raw: bytes
    """Header and payload."""
    error: str | None = None
    """What is wrong with the frame (format or size of the command, checksum), or None."""

    @property
    def payload(self) -> bytes:
        """The bytes after the header."""
        return self.raw[HEADER_SIZE:]


class Junk(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are not part of a frame."""

    raw: bytes
    why: str
    """Why they are not."""


class FrameStart(msgspec.Struct, frozen=True, gc=False):
    """The header of a long frame, whose payload follows in parts."""

    command: str
    length: int
    """Size of the payload in bytes."""
    raw: bytes


class FramePart(msgspec.Struct, frozen=True, gc=False):
    """A part of a long frame's payload."""

    raw: bytes


class FrameEnd(msgspec.Struct, frozen=True, gc=False):
    """The end of a long frame."""

    error: str | None = None
    """As in `Frame`; also set if the stream ended before the frame did."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Consecutive complete frames that arrived together, all of them valid."""

    raw: bytes
    commands: list[str]
    ends: list[int]
    """The offset in `raw` at which each frame ends."""

    def each(self) -> Iterator[Frame]:
        """Yield the frames one by one."""
        begin = 0
        for command, end in zip(self.commands, self.ends, strict=True):
            yield Frame(command, self.raw[begin:end])
            begin = end


StreamItem: TypeAlias = Frame | Junk | FrameStart | FramePart | FrameEnd | Run


class Framer:
    """Cut one direction of a connection into frames.

    Holds at most one frame in memory, and only bytes that arrived: up to 32 MiB, or up to
    `stream_above` bytes if that is set.

    Args:
        network: The network whose magic begins a frame.
        stream_above: Frames with a longer payload (bytes) come as `FrameStart`, `FramePart`s and
            `FrameEnd`, and junk comes as it arrives; joined, they are the items without it.
        at_stream_start: False for a stream that is read from its middle. Then a magic only begins
            a frame if a command follows it.
        individually: If set, consecutive valid frames come as one `Run`, except for frames of
            these commands.
        buffered_commands: Frames of these commands are never cut into parts.
    """

    astray = DeprecatedAttribute("desync_reason")
    cut = DeprecatedAttribute("completed")
    give = DeprecatedAttribute("configure")
    held = DeprecatedAttribute("take_buffered")
    let_go = DeprecatedAttribute("release_partial")
    passes = DeprecatedAttribute("can_forward_unparsed")

    @renamed_parameters(begins="at_stream_start", apart="individually", whole="buffered_commands")
    def __init__(
        self,
        network: Chain,
        stream_above: int | None = None,
        *,
        at_stream_start: bool = True,
        individually: frozenset[str] | None = None,
        buffered_commands: frozenset[str] = frozenset(),
    ) -> None:
        self._magic = network.magic
        self._codec = Codec(network)
        self.configure(stream_above, individually, buffered_commands)
        self._buffer = bytearray()
        self._scanned = 1  # up to this offset, the buffer has no magic after its first byte
        self._at_stream_start = at_stream_start
        # In a stream of another protocol, or in the middle of a message, a magic by chance does
        # not begin a frame.
        self._resyncing = not at_stream_start
        self._long: _LongFrame | None = None
        self.verifies = True
        """Whether checksums are compared; not if the frames were made from something verified."""
        self.completed: list[StreamItem] = []
        """The items that a call of `feed` had completed when it raised."""

    @renamed_parameters(apart="individually", whole="buffered_commands")
    def configure(
        self,
        stream_above: int | None,
        individually: frozenset[str] | None = None,
        buffered_commands: frozenset[str] = frozenset(),
    ) -> None:
        """Change these arguments of the constructor, from the next frame on."""
        self._stream_above = stream_above
        self._buffered_commands = buffered_commands
        self._in_runs = individually is not None
        network = self._codec.network
        self._known = known_commands(network, stream_above, individually or frozenset())

    @property
    def buffered(self) -> int:
        """Number of bytes that are held because they do not complete an item yet."""
        return len(self._buffer)

    @property
    def memory(self) -> int:
        """Bytes of memory allocated for them: a growing buffer is larger than its content."""
        return self._buffer.__alloc__()

    def take_buffered(self) -> bytes:
        """Remove and return the bytes that do not complete an item."""
        return self._take(len(self._buffer))

    def release(self) -> bytearray:
        """Remove and return the same bytes without a copy, for when memory is exhausted."""
        buffered, self._buffer = self._buffer, bytearray()
        self._scanned, self._at_stream_start = 1, False
        return buffered

    @property
    def desync_reason(self) -> str:
        """Why the buffered bytes cannot begin a frame; empty if they can."""
        if len(self._buffer) < len(self._magic) or self._buffer.startswith(self._magic):
            return ""
        return self._why_junk()

    def can_forward_unparsed(self, data: bytes) -> bool:
        """Return whether all of `data` belongs to frames in parts, judged by their headers."""
        if self._buffer or self._at_stream_start or self._resyncing:
            return False
        offset = 0 if self._long is None else self._long.left
        while offset < len(data):
            head = data[offset : offset + HEADER_SIZE]
            if len(head) < HEADER_SIZE or not head.startswith(self._magic):
                return False
            header = unpack(head)
            if header.length > MAX_PAYLOAD or not self._is_long(header):
                return False
            offset += HEADER_SIZE + header.length
        return True

    def release_partial(self) -> list[StreamItem]:
        """Return the buffered part of a frame, if any; the rest of the frame comes in parts.

        For when memory is too short to buffer the frame.
        """
        if len(self._buffer) < HEADER_SIZE or not self._buffer.startswith(self._magic):
            return []
        start = self._start(unpack(self._buffer))
        assert self._long is not None
        part = self._continue(self._long)
        return [start] if part is None else [start, part]

    def feed(self, data: bytes) -> list[StreamItem]:
        """Return the items that the received bytes complete, in order."""
        items: list[StreamItem] = []
        self.completed = items
        if data and self._long is not None and not self._buffer:  # no copy through the buffer
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
                self.completed = []
                return items
            items.append(item)

    def close(self) -> list[StreamItem]:
        """Return the last item when the stream ends, if any: an incomplete frame, or junk."""
        if self._long is not None:
            end = FrameEnd(f"cut off, {self._long.left} bytes missing")
            self._long = None
            return [end]
        if not self._buffer:
            return []
        return [self._junk(len(self._buffer), self._incomplete_reason())]

    def _incomplete_reason(self) -> str:
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
        names, ends = scan(self._buffer, self._magic, self._known, self.verifies)
        if not ends:
            return None
        self._resyncing = False
        return Run(self._take(ends[-1]), names, ends)

    def _next(self) -> StreamItem | None:
        if self._long is not None:
            return self._continue(self._long)
        size = len(self._buffer)
        if size < len(self._magic):
            return None
        if not self._buffer.startswith(self._magic) or self._is_chance(0):
            return self._next_junk()
        if size < HEADER_SIZE:
            return None
        self._resyncing = False
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
        return header.command not in self._buffered_commands

    def _frame(self, header: Header) -> Frame:
        raw = self._take(HEADER_SIZE + header.length)
        error = self._problem(header)
        if error is None and self.verifies:
            error = _checksum_problem(header.checksum, checksum(raw[HEADER_SIZE:]))
        return Frame(header.command, raw, error)

    def _problem(self, header: Header) -> str | None:
        """Return what is wrong with a frame, judged by its header."""
        problem = command_problem(header.raw_command)
        if problem is None and record_of(header.command) is None and header.command not in OPAQUE:
            problem = f"unknown command {header.command!r}"
        return problem or self._codec.refusal(header.command, header.length)

    def _start(self, header: Header) -> FrameStart:
        self._long = _LongFrame(header, self._problem(header), self.verifies)
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
        """Return the next item of junk once its end is certain."""
        buffer = self._buffer
        if self._at_stream_start and len(buffer) < COMMAND_END:
            return None  # the reason depends on these bytes
        if self._at_stream_start and not has_valid_command(buffer, 0):
            self._resyncing = True
        end = buffer.find(self._magic, self._scanned)
        while end >= 0 and self._is_chance(end):
            end = buffer.find(self._magic, end + 1)
        if self._stream_above is not None:
            certain = end if end >= 0 else end_before_magic(buffer, self._magic)
            return self._junk(certain, self._why_junk()) if certain else None
        limit = junk_limit(buffer)
        if self._resyncing and 0 <= end > len(buffer) - COMMAND_END:
            certain = end  # the bytes after that magic will show whether it begins a frame
        elif 0 <= end <= limit:
            return self._junk(end, self._why_junk())
        else:
            certain = end_before_magic(buffer, self._magic)
        if certain >= limit:
            return self._junk(limit, self._why_junk())
        self._scanned = max(1, certain)
        return None

    def _is_chance(self, offset: int) -> bool:
        """Return whether a magic does not begin a frame: while resyncing, without a command."""
        complete = len(self._buffer) >= offset + COMMAND_END
        return self._resyncing and complete and not has_valid_command(self._buffer, offset)

    def _why_junk(self) -> str:
        if self._at_stream_start and not has_valid_command(self._buffer, 0):
            return (
                "the stream begins with neither the network's magic nor a command: it is encrypted "
                "(BIP324; see docs/encrypted.md) or of another protocol"
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
                data = bytes(view[:size])  # one copy: it may be 32 MiB
            del self._buffer[:size]
        self._scanned = 1
        self._at_stream_start = False
        return data


class _LongFrame:
    """The state of a long frame that is being received in parts."""

    def __init__(self, header: Header, problem: str | None, verifies: bool) -> None:
        self._header = header
        self._problem = problem
        self._hash = hashlib.sha256() if verifies else None
        self.left = header.length

    def add(self, part: bytes) -> None:
        if self._hash is not None:
            self._hash.update(part)
        self.left -= len(part)

    def error(self) -> str | None:
        if self._hash is None:
            return self._problem
        digest = hashlib.sha256(self._hash.digest()).digest()
        return self._problem or _checksum_problem(self._header.checksum, digest[:4])


def _checksum_problem(claimed: bytes, real: bytes) -> str | None:
    if claimed == real:
        return None
    return f"checksum is {claimed.hex()}, should be {real.hex()}"
