"""Captures written again or converted, and everything in them that tests compare."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from lbcproxy.capture import Recorder, events, open_capture
from lbcproxy.capture.events import CaptureSessionEnded, Event, SectionHeader
from lbcproxy.capture.tools.convert import choose_format, open_writer
from lbcproxy.errors import CaptureError
from lbcproxy.session import Entry, EventRouter
from lbcproxy.session.events import SessionStarted

__all__ = [
    "CAPTURES",
    "FORMATS",
    "FORMAT_PAIRS",
    "LOSSLESS",
    "converted",
    "core_messages",
    "entries_of",
    "entry_fields",
    "matching_entries",
    "read_until_error",
    "session_events",
    "without_numbers",
    "write_again",
    "write_events",
]

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*.pcap"))


def entry_fields(entry: Entry) -> dict[str, Any]:
    """Return everything in an entry, to be compared."""
    return {
        "number": entry.number,
        "time_ns": entry.time_ns,
        "session": entry.session,
        "direction": entry.direction.value,
        "command": entry.command,
        "raw": entry.raw,
        "junk": entry.junk,
        "continued": entry.continued,
        "missing": entry.missing,
        "error": entry.error,
        "verdict": entry.verdict,
        "trail": entry.trail,
        "network": None if entry.message is None else entry.message.codec.network.id,
        "version": None if entry.message is None else entry.message.codec.protocol_version,
        "message": None if entry.message is None else entry.message.to_dict(),
    }


def entries_of(path: Path, network: str | None = None) -> list[dict[str, Any]]:
    """Return all entries of a capture, to be compared."""
    return [entry_fields(each) for each in open_capture(path, network)]


def read_until_error(
    path: Path, network: str | None = None
) -> tuple[list[dict[str, Any]], CaptureError | None]:
    """Read as far as it goes; return the entries, and what is wrong after them."""
    found = []
    try:
        for entry in open_capture(path, network):
            found.append(entry_fields(entry))
    except CaptureError as error:
        return found, error
    return found, None


def session_events(path: Path, network: str | None = None) -> list[Any]:
    """Return what a capture tells beside its messages: files, sessions, beginnings and ends."""
    found: list[Any] = []
    for event in events(open_capture(path, network)):
        if isinstance(event, CaptureSessionEnded):
            report = msgspec.structs.replace(event.report, upstream=None)
            found.append(("Ended", event.info, event.closed, report))
        elif not isinstance(event, SectionHeader) and not hasattr(event, "deliveries"):
            found.append((type(event).__name__, event))
    # Sessions that are left open come in no order.
    return sorted(found, key=lambda each: (each[0] == "Ended", each[0] == "Ended" and repr(each)))


def write_again(path: Path, out: Path, legs: str | None = None) -> Path:
    """Write a capture again from what happened in it."""
    return write_events(events(open_capture(path)), out, legs)


def write_events(happened: Iterable[Event], out: Path, legs: str | None = None) -> Path:
    """Write a capture from events."""
    with out.open("wb") as file:
        router: EventRouter | None = None
        header = SectionHeader()
        for event in happened:
            if isinstance(event, SectionHeader):
                router, header = None, event
            elif router is None and isinstance(event, SessionStarted):
                recorder = Recorder(
                    file.write,
                    network=header.network or event.info.network,
                    legs=legs or header.legs,
                    changes=header.changes,
                    metadata=header.metadata,
                    comments=header.comments,
                )
                router = EventRouter(recorder)
            if router is not None and not isinstance(event, SectionHeader):
                router.handle(event)
        if router is None:
            Recorder(file.write, network=header.network or "lbry-regtest")
    return out


FORMATS = ("x.pcapng", "x.pcap", "x.ndjson", "core/", "x.pcapng.gz", "x.ndjson.zst", "x.pcap.zst")


def converted(path: Path, folder: Path, name: str, network: str | None = None) -> Path:
    """Write a capture in the format that a name has, into a folder."""
    out = folder / name
    if name.endswith("/"):
        out.mkdir(parents=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
    with open_writer(out, choose_format(out)) as writer:
        for event in events(open_capture(path, network)):
            writer.handle(event)
    return out


def core_messages(path: Path, network: str) -> dict[str, list[tuple[str, int, str, bytes]]]:
    """What Core's files can hold of a capture in which nothing was changed: messages by client."""
    capture = open_capture(path, network)
    found: dict[str, list[tuple[str, int, str, bytes]]] = {}
    for entry in capture:
        if entry.message is not None:
            client = str(capture.stats.open_sessions[entry.session].client)
            way = entry.direction.value
            said = (way, entry.time_ns // 1_000, entry.command, entry.payload)
            found.setdefault(client, []).append(said)
    # The order of the two directions is that of time, which Core has in microseconds.
    return {client: sorted(said, key=lambda each: each[:2]) for client, said in found.items()}


def without_numbers(found):
    """Entries are numbered again in a file that has fewer of them."""
    return [{key: value for key, value in each.items() if key != "number"} for each in found]


def matching_entries(path: Path, matches) -> list[dict]:
    """What of a file's entries is to be left."""
    return without_numbers(
        info
        for entry, info in zip(open_capture(path), entries_of(path), strict=True)
        if matches(entry)
    )


LOSSLESS = ("x.pcapng", "x.ndjson", "x.pcapng.gz", "x.ndjson.zst")


FORMAT_PAIRS = list(itertools.product(FORMATS, FORMATS))
