"""Captures as entries, in whatever format they are.

A file is read as it is iterated; neither its packets nor its messages are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from lbcproxy import networks
from lbcproxy.capture.events import Connected, Ended, Event, Header, Passed, Started
from lbcproxy.capture.formats import Item, folder_format, recognise
from lbcproxy.capture.packet import Section
from lbcproxy.capture.reading.assembler import Reading, Told
from lbcproxy.capture.reading.connection import UnknownNetwork
from lbcproxy.capture.reading.facts import header_of
from lbcproxy.capture.reading.idle import Idle, is_pipe, with_idle
from lbcproxy.capture.reading.pairing import Pairing
from lbcproxy.capture.reading.part_reading import PartReading
from lbcproxy.capture.reading.parts import Part, Parts
from lbcproxy.capture.reading.read_stats import Met, SessionReport
from lbcproxy.capture.tcp.stream_events import Happened
from lbcproxy.errors import CaptureError, LbcproxyError
from lbcproxy.networks import Network
from lbcproxy.session import Entry

__all__ = ["Capture", "UnknownNetwork", "open_capture"]


def open_capture(path: str | Path, network: str | Network | None = None) -> Capture:
    """Open a capture to iterate over its entries.

    A folder is one of Bitcoin Core's `message_capture`, or a peer's in it. Captures of ours name
    their network; of others a magic that one network alone has chooses it,
    connection by connection, unless `network` is given. Raises OSError if the file cannot be
    opened, KeyError for a network that does not exist; iterating raises CaptureError where the
    file is damaged, after all before it was given, and UnknownNetwork.
    """
    if isinstance(network, str):
        network = networks.get(network)
    if not Path(path).is_dir():
        with Path(path).open("rb"):  # an error belongs to the call, not to the iteration
            pass
    return Capture(Path(path), network)


class Capture:
    """The entries of a file, in order; each iteration reads the file anew.

    `met` tells what else was met; `ended` is told of each session that is over. `opened` may be
    set to open the file in another way, as to show how far it has been read.
    """

    def __init__(self, path: Path, network: Network | None) -> None:
        self.path = path
        self._network = network
        self.met = Met()
        self.ended: Callable[[SessionReport], object] = lambda _: None
        self.opened: Callable[[Path], BinaryIO] = lambda path: path.open("rb")

    @property
    def sessions(self) -> int:
        """Sessions met so far."""
        return self.met.sessions

    @property
    def skipped(self) -> int:
        """Connections passed over because they are of no known network."""
        return self.met.skipped

    def __iter__(self) -> Iterator[Entry]:
        for event in self._told():
            if isinstance(event, Passed):
                for delivery in event.deliveries:
                    yield from delivery.entries

    def events(self) -> Iterator[Event]:
        """Give all that happened, not only the messages: see `lbcproxy.capture.events`."""
        pairing = Pairing()
        try:
            for event in self._told():
                yield from pairing.feed(event)
        except LbcproxyError:
            yield from pairing.finish()
            raise
        yield from pairing.finish()

    def begin(self, parts: Parts) -> Pass:
        """Begin a pass over the file as one of several."""
        return Pass(self, self._network, Part(parts, self.path))

    def check(self) -> None:
        """Raise CaptureError or UnknownNetwork if nothing of the file could be read."""
        if self.met.is_unreadable:
            raise CaptureError(f"{self.path}: {'; '.join(self.met.all_notices)}")
        if self.skipped and not self.sessions:
            raise UnknownNetwork(
                f"{self.path}: none of its {self.skipped} connections begins with the magic of a "
                f"known network; say --network, one of {', '.join(networks.all_networks())}"
            )

    def _told(self) -> Iterator[Told]:
        yield from Pass(self, self._network).told()
        self.check()


class Pass:
    """One pass over a file."""

    def __init__(self, capture: Capture, network: Network | None, part: Part | None = None) -> None:
        self.capture = capture
        self.header = Header()
        """What the file says at its beginning, once `begin` has read it."""
        self._network = network
        self._part = part
        self._met = capture.met = Met()
        self._stack = ExitStack()
        self._items: Iterator[Item] | None = None
        self._is_unpacked: Callable[[], bool] = lambda: False
        self._damage: CaptureError | None = None

    def begin(self) -> int:
        """Read up to the first packet, and return its time; CaptureError if it is no capture."""
        items = self._items = self._until_damage(self._open())
        first: list[Item] = []
        while (item := next(items, None)) is not None:
            first.append(item)
            if not isinstance(item, Section):
                break
            if len(first) == 1:
                self.header = header_of(item)
        self._items = itertools.chain(first, items)
        if isinstance(item, Happened):
            return item.event.time_ns
        return 0 if item is None else item.time_ns

    def close(self) -> None:
        """Close the file; it is closed in any case where its end is reached."""
        self._stack.close()

    def told(self) -> Iterator[Told]:
        """Give what happened; damage is raised when all before it was given."""
        if self._part is None:
            reading = Reading(self._met, self._network)
        else:
            reading = PartReading(self._met, self._network, self._part)
        for event in self._read(reading):
            if isinstance(event, Started | Connected):
                self._met.between[event.facts.number] = event.facts
            yield event
            if isinstance(event, Ended):
                self._met.between.pop(event.facts.number, None)
                self.capture.ended(event.report)

    def _read(self, reading: Reading) -> Iterator[Told]:
        with self._stack:
            if self._items is None:
                self._items = self._until_damage(self._open())
            if is_pipe(self.capture.path):
                for item in with_idle(self._items):
                    if isinstance(item, Idle):
                        yield from reading.tick(item.seconds)
                    else:
                        yield from reading.take(item)
            else:
                for item in self._items:
                    yield from reading.take(item)
        self._items = None
        yield from reading.leave() if isinstance(reading, PartReading) else reading.finish()
        if self._damage is not None:
            raise self._damage

    def _until_damage(self, items: Iterator[Item]) -> Iterator[Item]:
        try:
            yield from items
        except CaptureError as error:
            self._damage = _placed(error, unpacked=self._is_unpacked())

    def _open(self) -> Iterator[Item]:
        path = self.capture.path
        if path.is_dir():
            form = folder_format()
            self._met.format = form.NAME
            return cast("Iterator[Item]", form.in_folder(path, self._network))
        found = recognise(self._stack.enter_context(self.capture.opened(path)))
        self._met.format = found.form.NAME
        self._is_unpacked = found.is_unpacked
        return found.read(path, self._network, self._met.not_kept)


def _placed(error: CaptureError, *, unpacked: bool) -> CaptureError:
    """Say of a place that it is not one of the file, but of what is packed in it."""
    if not unpacked or error.offset is None:
        return error
    return CaptureError(f"in what is packed in it: {error.what}", error.offset)
