"""Each kind of damaged capture: what is good is printed, where it ends is said; exit code 3."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lbcproxy.capture import Recorder
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction, Session, SessionInfo
from tests.limits.programs import ENVIRONMENT, NETWORK, TIMEOUT, message
from tests.session.feed import Feed

pytestmark = pytest.mark.slow

INFO = SessionInfo(
    number=1,
    network=NETWORK.id,
    client=Endpoint("127.0.0.1", 40000),
    listen=Endpoint("127.0.0.1", 9246),
    upstream=Endpoint("127.0.0.1", 9247),
)


class Kind(NamedTuple):
    """A way to damage a file: the bytes that are left, and from where on they are bad."""

    damage: Callable[[bytes, list[int]], bytes]
    at: Callable[[list[int]], int]
    torn: bool
    """Whether it is at the end, where `repair` may cut."""


def _block(raw: bytes, starts: list[int], place: int, new: bytes) -> bytes:
    """Write over some of a block in the middle."""
    start = starts[len(starts) // 2] + place
    return raw[:start] + new + raw[start + len(new) :]


def middle(starts: list[int]) -> int:
    """Return where the block in the middle begins."""
    return starts[len(starts) // 2]


def last(starts: list[int]) -> int:
    """Return where the last block begins."""
    return starts[-1]


KINDS = {
    "torn in a block": Kind(lambda raw, starts: raw[: starts[-1] + 21], last, True),
    "torn in a block's head": Kind(lambda raw, starts: raw[: starts[-1] + 5], last, True),
    "length of 0": Kind(lambda raw, starts: _block(raw, starts, 4, bytes(4)), middle, False),
    "length of 4 GiB": Kind(
        lambda raw, starts: _block(raw, starts, 4, b"\xfc\xff\xff\xff"), middle, False
    ),
    "odd length": Kind(lambda raw, starts: _block(raw, starts, 4, b"\x21\0\0\0"), middle, False),
    "garbage": Kind(lambda raw, starts: _block(raw, starts, 0, b"\xa5" * 64), middle, False),
}


@pytest.fixture(scope="module")
def whole() -> tuple[bytes, list[int]]:
    """Return a capture of ours, and where its blocks begin."""
    parts: list[bytes] = []
    recorder, session = Feed(Recorder(parts.append, network=NETWORK.id)), Session(1, NETWORK)
    recorder.started(INFO, 1_000)
    for number in range(40):
        ping = message("ping", number.to_bytes(8, "little"))
        deliveries = session.receive(Direction.TO_UPSTREAM, ping, number)
        recorder.passed(INFO, Direction.TO_UPSTREAM, deliveries, number)
    raw, starts, place = b"".join(parts), [], 0
    while place < len(raw):
        starts.append(place)
        place += int.from_bytes(raw[place + 4 : place + 8], "little")
    return raw, starts


def run(*arguments: object) -> tuple[int, list[str], str]:
    """Run a command; return its exit code, the lines it prints, and what it complains of."""
    done = subprocess.run(
        [sys.executable, "-m", "lbcproxy", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=TIMEOUT,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_capture_is_read_as_far_as_it_is_good(
    whole: tuple[bytes, list[int]], name: str, tmp_path: Path
):
    """Both readers say at which byte; repair cuts a torn tail and leaves other damage alone."""
    raw, starts = whole
    kind = KINDS[name]
    bad = tmp_path / "bad.pcapng"
    bad.write_bytes(kind.damage(raw, starts))
    place = f"at byte {kind.at(starts):,}"
    before = tmp_path / "before.pcapng"
    before.write_bytes(raw[: kind.at(starts)])
    _, good, _ = run("show", before)
    assert len(good) > 10

    code, shown, said = run("show", bad)
    assert (code, shown) == (3, good)
    assert place in said
    code, shown, said = run("info", bad)
    assert code == 3
    assert shown
    assert str(bad) in said
    assert place in said

    content = bad.read_bytes()
    code, shown, said = run("repair", bad)
    assert code == (0 if kind.torn else 3)
    assert any(place in line for line in shown)
    if kind.torn:
        assert bad.read_bytes() == before.read_bytes()
        assert run("show", bad)[:2] == (0, good)
    else:
        assert bad.read_bytes() == content
        assert run("repair", bad, "-o", tmp_path / "out.pcapng")[0] == 0
        code, shown, _ = run("show", tmp_path / "out.pcapng")
        assert code == 0
        assert len(shown) >= len(good)
