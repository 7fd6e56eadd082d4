"""A long campaign of TCP conversations against the reader: `script/fuzz --connections`.

Each case is a scene and a tap, drawn from the seed and the number of the case. A scene that is read
wrongly is named by its number; `--case` makes it simpler as long as it stays wrong, and prints its
packets, what was true and what the reader told.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.capture.tcp_explained import explained
from tests.capture.tcp_found import Verdict
from tests.capture.tcp_judge import judge
from tests.capture.tcp_line_judge import Exclusion
from tests.capture.tcp_network import FEATURES, Scene
from tests.capture.tcp_tap import TAPS

BATCH = 500
"""Cases of one job."""
EXCLUDED = "not judged: "


def drawn(chance: random.Random) -> tuple[Scene, str]:
    """Return a scene and a tap; half of all taps miss nothing."""
    share = chance.choice((0.1, 0.3, 0.7))
    scene = Scene(
        seed=chance.getrandbits(32),
        lines=chance.choice((1, 1, 2, 4)),
        connections=chance.randint(1, 6),
        writes=chance.randint(1, 4),
        features=frozenset(each for each in FEATURES if chance.random() < share),
    )
    tap = "perfect" if chance.random() < 0.5 else chance.choice(TAPS)
    if tap.endswith("only"):  # of one direction, ports used again are not always told from a jump
        scene = scene._replace(connections=1)
    return scene, tap


def wrong(scene: Scene, tap: str) -> str | None:
    """Return in what the reader is wrong about a scene."""
    try:
        judge(scene, tap)
    except Verdict as verdict:
        return str(verdict)
    except Exception as error:  # the reader must not raise, whatever it reads
        return repr(error)
    return None


def simplest(scene: Scene, tap: str) -> Scene:
    """Return a scene that is still read wrongly, with as little in it as can be found."""
    for simpler in _simpler(scene):
        if wrong(simpler, tap) is not None:
            return simplest(simpler, tap)
    return scene


def _simpler(scene: Scene) -> Iterator[Scene]:
    for feature in sorted(scene.features):
        yield scene._replace(features=scene.features - {feature})
    for name in ("lines", "connections", "writes"):
        for value in range(1, getattr(scene, name)):
            yield scene._replace(**{name: value})
    # Another seed may do with less; those are tried that lead somewhere at once.
    if scene.seed >= 200:
        yield from (scene._replace(seed=seed) for seed in range(200))


def run(job: tuple[int, int]) -> Counter[str]:
    """Run a batch of cases; return how many conversations and packets were read right, by tap."""
    seed, batch = job
    counts: Counter[str] = Counter()
    for number in range(batch * BATCH, (batch + 1) * BATCH):
        scene, tap = drawn(random.Random(f"{seed} {number}"))
        try:
            judged = judge(scene, tap)
        except Exception:
            counts["wrong"] += 1
            print(f"case {number}: {wrong(scene, tap)}\n  {scene}, {tap}", flush=True)
            continue
        counts[tap] += judged.conversations
        counts["packets"] += judged.packets
        counts += Counter({EXCLUDED + why: count for why, count in judged.excluded.items()})
    return counts


def main() -> None:
    """Run a campaign; exits with 1 if a scene is read wrongly."""
    parser = argparse.ArgumentParser(
        prog="script/fuzz --connections", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("seed", type=int, help="any number; the same gives the same cases")
    parser.add_argument("count", type=int, help="how many conversations, at least")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--case", type=int, help="show one case that was read wrongly")
    arguments = parser.parse_args()
    if arguments.case is not None:
        show(arguments.seed, arguments.case)
        return
    began = time.monotonic()
    counts: Counter[str] = Counter()
    forked = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(arguments.jobs, forked) as workers:
        batches = itertools.count()
        while sum(counts[tap] for tap in TAPS) < arguments.count:
            jobs = [(arguments.seed, next(batches)) for _ in range(4 * arguments.jobs)]
            for done in workers.map(run, jobs):
                counts += done
    seconds = time.monotonic() - began
    report(counts, seconds)
    sys.exit(counts["wrong"] > 0)


def report(counts: Counter[str], seconds: float) -> None:
    """Print what was read, and what was not judged wholly."""
    total = sum(counts[tap] for tap in TAPS)
    for tap in sorted(TAPS):
        print(f"{tap:14}{counts[tap]:12,}")
    print("not judged, or not wholly:")
    for why in Exclusion:
        count = counts[EXCLUDED + why]
        print(f"{count:12,} {count / max(total, 1):8.3%}  {why}")
    print(
        f"{total:,} conversations of {counts['packets']:,} packets in {seconds:.0f} s "
        f"({total / seconds:,.0f}/s); {counts['wrong']:,} cases were read wrongly"
    )


def show(seed: int, number: int) -> None:
    """Print a case at its simplest."""
    scene, tap = drawn(random.Random(f"{seed} {number}"))
    scene = simplest(scene, tap)
    print(f"{wrong(scene, tap)}\n{explained(scene, tap)}")


if __name__ == "__main__":
    main()
