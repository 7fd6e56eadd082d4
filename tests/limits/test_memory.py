"""Memory of the real program, to the scale of a test run; `script/slow-memory` has the full one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.limits.memory import MIB, cut_open, one_session
from tests.limits.programs import STALL

pytestmark = pytest.mark.slow

SPARE = 16 * MIB
"""What a session of any kind may take beside what is budgeted."""


def test_memory_does_not_grow_with_what_a_session_has_passed(tmp_path: Path):
    """Between 20 and 200 MB with recording on; tenfold that in script/slow-memory."""
    first, last = one_session(tmp_path, [20_000_000, 200_000_000])
    assert last - first <= 10_000_000


@pytest.mark.parametrize(
    ("mode", "ndjson"), [("reverse", True), ("reverse", False), ("terminate", False)]
)
def test_sessions_cut_open_stay_within_the_budget(tmp_path: Path, mode: str, ndjson: bool):
    """100 sessions send 4 MiB of a message of 32 MiB, where 32 MiB may be held in all."""
    memory = 32 * MIB
    found = cut_open(tmp_path, mode, each=4 * MIB, memory=memory, ndjson=ndjson)
    assert found.code == 0, found.log[-1000:]
    assert found.held - found.before <= memory + SPARE
    assert found.slowest < STALL
    gave_way = re.findall(
        r"\[#\d+.*\] all sessions together hold more than 33554432 bytes", found.log
    )
    held_whole = ndjson or mode == "terminate"  # else long messages pass in parts
    assert len(gave_way) == held_whole  # said once, however many have to
    ended = found.log.count("end: more is held than all sessions together may;")
    assert (ended > 80) == (mode == "terminate")
