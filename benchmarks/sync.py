"""Measure a real node's sync: btcd from btcd, directly and through a proxy that records.

`python -m benchmarks.sync [--repeats N] [--scale X]`. The chain is that of `benchmarks.chain`. A
fresh node is told whom to connect to; the time is that from there until it has the last block. Ways
take turns; what counts is the median of each turn's ratios. The nodes' files are kept in memory
where there is a file system for that, so that it is not the disk's moods that are measured; the
recording is not.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.btcd import Node, program
from benchmarks.chain import MATURE, NETWORK, make_chain
from benchmarks.contestants import DIRECT, TWISTED, Contestant, recording, started
from benchmarks.measure import US, Absent, Figure, Target, figure
from benchmarks.report import progress, run_alone
from benchmarks.turns import take_turns

__all__ = ["TARGETS", "measure"]

WORK = "sync of 500 blocks of 500 kB"
BLOCKS, SIZE = 500, 505_000
LONGEST = 300.0
"""Seconds that a sync may take."""
GENESIS_TIME = 1_296_688_602
RATIO = f"{WORK}, to direct"
TARGETS = (Target(work=RATIO, rival=None, ratio=1.05, at_least=False),)
IN_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of ours is made in it
NEEDED = 2_000_000_000
"""Bytes that both nodes' files take at most."""


def measure(repeats: int = 5, scale: float = 1.0) -> Iterator[Figure | Absent]:
    """Measure the ways; `scale` is how many of the blocks."""
    if program() is None:
        yield Absent("btcd", "btcd is not installed; .ci/run does that")
        return
    blocks = max(1, round(BLOCKS * scale))
    ours = recording(NETWORK.id)
    with _node_with_chain(blocks) as node:
        who = (DIRECT, ours, TWISTED)
        turns = take_turns(WORK, who, repeats, lambda each: _sync(node, each, blocks))
    yield from turns.absent
    for contestant, found in turns.reached.items():
        yield figure(WORK, contestant.who, found, "s")
        ratios = [one / other for one, other in zip(found, turns.reached[DIRECT], strict=True)]
        if contestant is not DIRECT:
            yield figure(RATIO, contestant.who, ratios, "x")


@contextlib.contextmanager
def _node_with_chain(blocks: int) -> Iterator[Node]:
    """Run a node that mines the chain again: btcd keeps no regtest blocks over a restart."""
    with (
        _folder() as folder,
        Node(folder) as node,
    ):
        genesis = bytes.fromhex(node.ask("getblockhash", 0))[::-1]
        for height, payload in enumerate(make_chain(blocks, SIZE, genesis, GENESIS_TIME), 1):
            node.ask("submitblock", payload.hex())
            if height % 100 == 0:
                progress(f"the chain: {height} of {MATURE + blocks} blocks")
        if node.height != MATURE + blocks:
            raise RuntimeError(f"btcd takes {node.height} of {MATURE + blocks} blocks")
        yield node


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder, in memory where there is room for it."""
    roomy = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > NEEDED
    where = IN_MEMORY if roomy else None
    with tempfile.TemporaryDirectory(prefix="lbcproxy-benchmark-", dir=where) as name:
        yield Path(name)


def _sync(node: Node, contestant: Contestant, blocks: int) -> float:
    """Have a fresh node get all blocks, and return the seconds."""
    with (
        _folder() as folder,
        started(contestant, node.port) as running,
        Node(folder) as fresh,
    ):
        start = time.monotonic()
        fresh.ask("addnode", f"127.0.0.1:{running.port}", "onetry")
        while fresh.height < MATURE + blocks:
            if time.monotonic() > start + LONGEST:
                raise RuntimeError(f"the sync through {contestant.who} does not end")
            time.sleep(0.02)
        seconds = time.monotonic() - start
        if contestant.who == US and running.recorded < blocks * SIZE * 0.9:
            raise RuntimeError("the recording is not complete")
    return seconds


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=5)
