"""Captures as entries, in whatever format they are.

A file is read as it is iterated; neither its packets nor its messages are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from lbcproxy import networks
from lbcproxy.capture.events import Connected, Ended, Event, Passed, Started
from lbcproxy.capture.formats import Item, folder_format, recognise
from lbcproxy.capture.reading.connection import UnknownNetwork
from lbcproxy.capture.reading.met import Met, SessionReport
from lbcproxy.capture.reading.one_pass import Reading, Told
from lbcproxy.capture.reading.pairing import Pairing
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
                for passage in event.passages:
                    yield from passage.entries

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

    def _told(self) -> Iterator[Told]:
        self.met = Met()
        reading = Reading(self.met, self._network)
        for event in self._read(reading):
            if isinstance(event, Started | Connected):
                self.met.between[event.facts.number] = event.facts
            yield event
            if isinstance(event, Ended):
                self.met.between.pop(event.facts.number, None)
                self.ended(event.report)
        if self.met.is_unreadable:
            raise CaptureError(f"{self.path}: {'; '.join(self.met.all_notices)}")
        if self.skipped and not self.sessions:
            raise UnknownNetwork(
                f"{self.path}: none of its {self.skipped} connections begins with the magic of a "
                f"known network; say --network, one of {', '.join(networks.all_networks())}"
            )

    def _read(self, reading: Reading) -> Iterator[Told]:
        """Read on to the end or to damage, which is raised when all before it was given."""
        damage: CaptureError | None = None
        with ExitStack() as stack:
            items, is_unpacked = self._items(stack)
            while True:
                try:
                    item = next(items, None)
                except CaptureError as error:
                    damage, item = _placed(error, unpacked=is_unpacked()), None
                if item is None:
                    break
                yield from reading.take(item)
        yield from reading.finish()
        if damage is not None:
            raise damage

    def _items(self, stack: ExitStack) -> tuple[Iterator[Item], Callable[[], bool]]:
        if self.path.is_dir():
            form = folder_format()
            self.met.format = form.NAME
            return form.in_folder(self.path, self._network), lambda: False
        found = recognise(stack.enter_context(self.opened(self.path)))
        self.met.format = found.form.NAME
        return found.read(self.path, self._network), found.is_unpacked


def _placed(error: CaptureError, *, unpacked: bool) -> CaptureError:
    """Say of a place that it is not one of the file, but of what is packed in it."""
    if not unpacked or error.offset is None:
        return error
    return CaptureError(f"in what is packed in it: {error.what}", error.offset)
