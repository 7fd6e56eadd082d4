"""Rotated captures, joined, against what taps saw of every connection."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lbcproxy.capture import open_capture
from lbcproxy.session import Direction
from tests.taps import TappedConnection

__all__ = ["Joined", "Witness", "joined", "verdicts"]

UNKNOWN = "unknown command 'bulk'"
"""What is said of the messages that scripted clients send; nothing is wrong with them."""
CUT, BEHIND = " cut off, ", "the beginning of this message is not in the capture"
"""What is said of a message where a new file was begun in its middle."""
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


class Witness(NamedTuple):
    """What somebody saw of a connection to the proxy, which listened at `listen`.

    One that was broken off in the middle is not exact: what was under way then may be missing on
    either side.
    """

    seen: TappedConnection
    listen: int
    exact: bool = True


class Joined:
    """A session over all files that have a part of it."""

    def __init__(self, place: tuple[int, int]) -> None:
        self.place = place
        """The client's port, and that of the listener."""
        self.files = 0
        self.messages = 0
        self.errors: list[str] = []
        self.parts: dict[Direction, list[bytes]] = {UP: [], DOWN: []}

    @property
    def streams(self) -> tuple[bytes, bytes]:
        """The bytes to the upstream and back."""
        return b"".join(self.parts[UP]), b"".join(self.parts[DOWN])


def joined(paths: Iterable[Path]) -> dict[int, Joined]:
    """Return the sessions of files of one run, by number; the files may come in any order."""
    sessions: dict[int, Joined] = {}
    for path in sorted(paths, key=_began):
        capture = open_capture(path)
        places: dict[int, tuple[int, int]] = {}
        capture.on_session_ended = lambda report, places=places: places.update(
            {report.number: (report.client.port, report.server.port)}
        )
        entries = list(capture)
        for number, place in places.items():
            session = sessions.setdefault(number, Joined(place))
            assert session.place == place, f"{path}: session {number} is another one"
            session.files += 1
        for entry in entries:
            session = sessions[entry.session]
            session.parts[entry.direction].append(entry.raw)
            session.messages += entry.message is not None
            error = entry.why if entry.message is None else entry.message.frame_error
            if error is not None and error != UNKNOWN:
                session.errors.append(error)
    return dict(sorted(sessions.items()))


def verdicts(sessions: dict[int, Joined], witnesses: Sequence[Witness]) -> Counter[str]:
    """Hold sessions against those who saw them; raises AssertionError where they differ."""
    found: Counter[str] = Counter()
    waiting: dict[tuple[int, int], list[Witness]] = {}
    for witness in witnesses:
        waiting.setdefault((witness.seen.port, witness.listen), []).append(witness)
    for number, session in sessions.items():
        same_place = waiting.get(session.place)
        assert same_place, f"session {number} was seen by nobody"
        witness = same_place.pop(0)
        up, down = session.streams
        sent, received = witness.seen.to_target, witness.seen.to_client
        if witness.exact:
            assert up == sent, f"session {number}: {_difference(up, sent)} to the upstream"
            assert down == received, f"session {number}: {_difference(down, received)} back"
            cut = sum(CUT in error or BEHIND in error for error in session.errors)
            assert cut == len(session.errors), f"session {number}: {session.errors}"
            assert not cut or session.files > 1, f"session {number}: {session.errors}"
            found["parts of messages that a rotation cut"] += cut
            found["sessions equal to the byte"] += 1
        else:
            assert sent.startswith(up), f"session {number}: {_difference(up, sent)}"
            assert down.startswith(received), f"session {number}: {_difference(down, received)}"
            found["sessions equal up to where they were broken off"] += 1
        found["sessions in more than one file"] += session.files > 1
        found["messages"] += session.messages
        found["bytes"] += len(up) + len(down)
    lost = [each for several in waiting.values() for each in several]
    assert not lost, f"{len(lost)} connections are in no file"
    return found


def _began(path: Path) -> int:
    capture = open_capture(path)
    for _ in capture:
        break
    return capture.stats.first_ns or 0


def _difference(recorded: bytes, seen: bytes) -> str:
    return f"{len(recorded):,} bytes were recorded and {len(seen):,} seen"
