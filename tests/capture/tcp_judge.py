"""Holds what the reader of connections tells against what truly happened in a scene.

The reader tells as it reads, and takes nothing back. So what it told is wrong only if no other
history gives the same capture up to there. What follows is not asked for, and nothing else. Each
has two histories that no tap can tell apart.

Of one connection:

- Bytes that passed the tap and never arrived, since a host had vanished or reset the connection:
  they may be given. (Both a receiver that took them and one that did not look the same, for the
  acknowledgment may be lost as well.)
- Bytes that passed only after an RST of a true end: whether the RST overtook them on the rest of
  the way is not to be seen. They may be given.
- A FIN or an RST that passed and never arrived may be told.
- What a tap with several queues records after a segment that only who was answered can send, on
  the next connection, may be left out, and such a connection counts as reset if its end is among
  that: the same packets in order are a connection that was given up for the next.
- With a tap that loses packets, bytes that it saw for the first time after it saw them
  acknowledged, since they had been given up by then.
- A connection that was over is told again if its SYN comes again long after, and its bytes: a host
  may begin with the same number again. So is one whose first SYN was lost.
- Bytes of a connection that was over, which a tap sees for the first time in a later one, may be
  told as a connection of their own.
- A capture from the middle may have a SYN after other segments of its connection. Either the
  capture holds the start, out of order, or the SYN is a late repetition and the start was before
  the capture: the stream may begin at the SYN or at the first segment. All else is asked for.

A connection without bytes may be told besides the true ones:

- A SYN that reached nobody, or a late repetition of one, if something else was open between the
  addresses: it may be a stray.
- A SYN that was recorded before that of an earlier connection. Until its answer comes, the capture
  is that of an attempt which was given up for the other one, and that is told by then. All bytes
  of both connections are asked for, and that the one which was answered later is the open one.
- A SYN for which a stray reset was recorded before the answer, although it passed after it. Up to
  there, the attempt was refused.

Not judged, and counted by reason (`Exclusion`):

- MIXED: a receiver took something of another connection (its number was in the window by chance).
  What its application got is then not what was sent, so there is no truth to compare with.
- LATE_FIRST: the capture begins with late segments of a connection that was over. If that
  connection were still open and the segments on time, they would be the beginning.
- STRAY: a tap that disorders or loses packets may have bytes that repeat others with other values
  and not those before, a stray SYN before the true one, or nothing of what shows that a segment is
  a stray. Where a capture begins in the middle, or is of one direction, the windows or their scales
  are not known, so that a receiver with larger ones would take the stray.
- UNPROVEN: a stray SYN, or an RST in the window, after which its side sends nothing new may be
  obeyed: a true one looks the same. Nothing is asked about the rest of this one connection.
- ANY_LOSS: the tap may have lost SYNs and ends. Then it is asked only that whatever is given was
  sent, and is given once.

In all scenes, what was recorded is given, a repetition, or counted (tests/capture/tcp_counted.py).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import NamedTuple

from tests.capture.tcp_counted import all_counted
from tests.capture.tcp_found import by_connection, orderly, truthful
from tests.capture.tcp_line_judge import Exclusion, Judge
from tests.capture.tcp_network import Line, Passed, Scene, played, together
from tests.capture.tcp_read import reassembled
from tests.capture.tcp_tap import record


class Judged(NamedTuple):
    """A scene that was read right."""

    conversations: int
    packets: int
    excluded: Counter[str]
    """How many conversations were not judged wholly, by reason."""


def judge(scene: Scene, tap: str = "perfect") -> Judged:
    """Play a scene and judge the reader.

    Raises Verdict.
    """
    lines = played(scene)
    passed = together(lines)
    recorded = record(passed, tap, random.Random(f"tap {scene.seed}")) if passed else []
    excluded = _judge(lines, recorded, tap) if recorded else Counter[str]()
    return Judged(sum(len(line.connections) for line in lines), len(recorded), excluded)


def _judge(lines: list[Line], recorded: list[Passed], tap: str) -> Counter[str]:
    events, dropped = reassembled((each.time_ns, each.segment) for each in recorded)
    by_number = by_connection(events)
    orderly(by_number)
    all_counted((each.segment for each in recorded), events, dropped)
    own: dict[str, list[Passed]] = defaultdict(list)
    for each in recorded:
        own[each.segment.source.host if each.side == 0 else each.segment.target.host].append(each)
    excluded: Counter[str] = Counter()
    for line in lines:
        host = line.ends_at[0].host
        found = [
            each
            for each in by_number.values()
            if host in (each.opened.client.host, each.opened.server.host)
        ]
        if tap == "any loss":
            truthful(line, own[host], found)
            excluded[Exclusion.ANY_LOSS] += len(line.connections)
        else:
            judge_of_line = Judge(line, own[host], tap)
            judge_of_line.judge(found)
            excluded += judge_of_line.excluded
    return excluded
