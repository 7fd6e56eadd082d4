"""What `script/slow-memory` runs: the figures at full size, each with its bound."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.limits.memory import MIB, cut_open, one_session

GROWTH = 10_000_000
MEMORY = 64 * MIB
MARKS = (20_000_000, 200_000_000, 1_000_000_000, 2_000_000_000)


def main() -> int:
    """Measure, print a table, and return 1 if a bound does not hold."""
    bad = 0
    for size in (300, 100_000, 4_000_000):
        marks = MARKS if size > 1000 else MARKS[:3]  # small messages are slow to pass
        with tempfile.TemporaryDirectory() as folder:
            found = one_session(Path(folder), marks, size)
        grown = found[-1] - found[1]
        bad += grown > GROWTH
        shown = ", ".join(
            f"{mark // 1_000_000:,} MB {resident / 1e6:.1f}"
            for mark, resident in zip(marks, found, strict=True)
        )
        sys.stdout.write(
            f"messages of {size:,} B: resident MB at {shown}; grown {grown / 1e6:.1f}\n"
        )
    for mode, ndjson in (("reverse", True), ("reverse", False), ("terminate", False)):
        with tempfile.TemporaryDirectory() as folder:
            cut = cut_open(Path(folder), mode, each=31 * MIB, memory=MEMORY, ndjson=ndjson)
        grown = cut.held - cut.before
        bad += grown > MEMORY or cut.code != 0
        sys.stdout.write(
            f"100 sessions cut open, {mode}{', -T ndjson' if ndjson else ''}, "
            f"budget {MEMORY / 1e6:.0f} MB: resident +{grown / 1e6:.1f} MB, at most "
            f"+{(cut.most - cut.before) / 1e6:.1f} MB meanwhile; the neighbour waited "
            f"{cut.slowest * 1000:.0f} ms at most\n"
        )
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
