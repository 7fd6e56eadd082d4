"""A long campaign of sessions with encrypted legs through a relay: `script/fuzz --transport`.

Each case is drawn from the seed and its own number, and is played in memory. A step is something
that happens on a connection: a portion of bytes arrives, a node reads, a node closes, or the clock
moves. A case in which something does not hold is named, and `--case` plays it alone.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.proxy.encrypted_cases import drawn, play

BATCH = 200
"""Cases of one job."""
SPREAD = 1_000_003
"""Between the first cases of two seeds."""


def run(first: int) -> tuple[Counter[str], int, int]:
    """Play a batch; return what was counted, and what a relay held and this process had at most."""
    counts: Counter[str] = Counter()
    held = 0
    for number in range(first, first + BATCH):
        try:
            played = play(drawn(number))
        except Exception as error:  # the relay must not raise, whatever happens
            counts["wrong"] += 1
            print(f"case {number}: {error!r:.200}\n  {drawn(number)}", flush=True)
            continue
        held = max(held, played.held)
        counts["sessions"] += 1
        counts["steps"] += played.steps
        counts["packets"] += played.packets
        counts[f"ended: {played.cause}"] += 1
    return counts, held, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Run a campaign; exits with 1 if something did not hold."""
    parser = argparse.ArgumentParser(
        prog="script/fuzz --transport", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("seed", type=int, help="any number; the same gives the same cases")
    parser.add_argument("count", type=int, help="how many steps, at least")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--case", type=int, help="play this case alone")
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(drawn(arguments.case), play(drawn(arguments.case)), sep="\n")
        return
    began = time.monotonic()
    counts: Counter[str] = Counter()
    most_held = peak = 0
    forked = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(arguments.jobs, forked) as workers:
        firsts = itertools.count(arguments.seed * SPREAD, BATCH)
        while counts["steps"] < arguments.count:
            for done, held, used in workers.map(run, itertools.islice(firsts, 4 * arguments.jobs)):
                counts += done
                most_held, peak = max(most_held, held), max(peak, used)
    report(counts, most_held, peak, time.monotonic() - began)
    sys.exit(counts["wrong"] > 0)


def report(counts: Counter[str], held: int, peak: int, seconds: float) -> None:
    """Print what was played."""
    for what in sorted(each for each in counts if each.startswith("ended")):
        print(f"{what:24}{counts[what]:12,}")
    steps, sessions, packets, wrong = (
        f"{counts[each]:,}" for each in ("steps", "sessions", "packets", "wrong")
    )
    print(
        f"{steps} steps in {sessions} sessions, {packets} packets and frames, in {seconds:.0f} s;\n"
        f"a relay held {held:,} bytes at most, the largest process {peak // 1_000_000:,} MB; "
        f"{wrong} cases went wrong"
    )


if __name__ == "__main__":
    main()
