"""Captures compared: their entries, all that is known of each, and their sessions."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from lbcproxy.capture import Recorder, events, open_capture, tell
from lbcproxy.capture.events import Ended, Event, Header, Started
from lbcproxy.session import Entry

__all__ = ["CAPTURES", "conversation", "entries_of", "entry_facts", "retold", "written"]

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*.pcap"))


def entry_facts(entry: Entry) -> dict[str, Any]:
    """All that there is of an entry, to be compared."""
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
    """Give all entries of a capture, to be compared."""
    return [entry_facts(each) for each in open_capture(path, network)]


def conversation(path: Path, network: str | None = None) -> list[Any]:
    """Give what a capture tells beside its messages: files, sessions, beginnings and ends."""
    found: list[Any] = []
    for event in events(open_capture(path, network)):
        if isinstance(event, Ended):
            report = msgspec.structs.replace(event.report, upstream=None)
            found.append(("Ended", event.facts, event.closed, report))
        elif not isinstance(event, Header) and not hasattr(event, "passages"):
            found.append((type(event).__name__, event))
    # Sessions that are left open are told in no order.
    return sorted(found, key=lambda each: (each[0] == "Ended", each[0] == "Ended" and repr(each)))


def retold(path: Path, out: Path, legs: str | None = None) -> Path:
    """Write a capture again from what happened in it."""
    return written(events(open_capture(path)), out, legs)


def written(told: Iterable[Event], out: Path, legs: str | None = None) -> Path:
    """Write a capture from events."""
    with out.open("wb") as file:
        recorder: Recorder | None = None
        header = Header()
        for event in told:
            if isinstance(event, Header):
                recorder, header = None, event
            elif recorder is None and isinstance(event, Started):
                recorder = Recorder(
                    file.write,
                    network=header.network or event.facts.network,
                    legs=legs or header.legs,
                    changes=header.changes,
                    metadata=header.metadata,
                    comments=header.comments,
                )
            if recorder is not None:
                tell(event, recorder)
        if recorder is None:
            Recorder(file.write, network=header.network or "lbry-regtest")
    return out
