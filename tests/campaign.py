"""A long campaign of mutated bytes and spoiled records through both engines: `script/fuzz`.

The pool it begins with are the vectors and values that hypothesis makes of the declarations. Each
job has a seed of its own, made of the one given; a case that differs ends the campaign with its
bytes and the seed.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import random
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings

from lbcproxy import networks, wire
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.scan import SCANS, known_commands
from tests.engines import ENCODINGS, FAMILIES, VERSIONS, Pair, mutated, require_native, spoiled
from tests.strategies import records
from tests.vector_files import load, payload_of

LARGEST = 2000
"""Bytes of a payload in the pool: longer ones cost construct too much."""
EXAMPLES = 12
"""Values made of each command for each family, version and encoding of the pool."""
LEAST_ACCEPTED = 0.2
NETWORK = networks.get("lbry-mainnet")
KNOWN = known_commands(NETWORK, None, frozenset())
BATCH = 2000

Pool = dict[str, list[bytes]]
POOL: Pool = {}
"""That of this process."""


def make_pool(seed: int) -> Pool:
    """Return payloads by command: the short vectors, and values made of the declarations."""
    pool: dict[str, set[bytes]] = {command: set() for command in wire.commands()}
    for vector in (*load("vectors"), *load("bad_vectors")):
        if vector.get("level") != "stream" and vector["command"] in pool:
            payload = payload_of(vector)
            if len(payload) <= LARGEST:
                pool[vector["command"]].add(payload)
    for network in FAMILIES:
        for version in (VERSIONS[0], VERSIONS[-1]):
            for command in wire.commands():
                pool[command] |= set(_made(command, network, version, seed))
    return {command: sorted(payloads) for command, payloads in pool.items()}


def _made(command: str, network: str, version: int, seed: int) -> list[bytes]:
    record = wire.record_of(command)
    assert record is not None
    codec = wire.Codec(networks.get(network), max(version, record.since))
    found: list[bytes] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(records(record, codec.params))
    def collect(value: Any) -> None:
        with contextlib.suppress(wire.BadRecord):  # too long as a whole
            found.append(codec.encode(value))

    collect()
    return [payload for payload in found if len(payload) <= LARGEST]


def run(job: tuple[int, int]) -> Counter[tuple[str, str]]:
    """Run some cases from a seed; return how many had which outcome, by command."""
    seed, count = job
    source = random.Random(seed)
    pairs: dict[tuple[str, int, str], Pair] = {}
    outcomes: Counter[tuple[str, str]] = Counter()
    commands = sorted(POOL)
    for number in range(count):
        command = source.choice(commands)
        record = wire.record_of(command)
        assert record is not None
        version = source.choice((source.choice(VERSIONS), max(record.since, 70016)))
        key = (source.choice(FAMILIES), version, source.choice(ENCODINGS))
        pair = pairs.get(key) or pairs.setdefault(key, Pair(*key))
        payload = mutated(source.choice(POOL[command]), source, POOL[command])
        try:
            outcomes[command, _case(pair, command, payload, source)] += 1
            _scanned(command, payload, source)
        except BaseException:
            print(f"seed {seed}, case {number}: {key} {command} {payload.hex()}", file=sys.stderr)
            raise
    return outcomes


def _scanned(command: str, payload: bytes, source: random.Random) -> None:
    """Have both scans look at frames of the payload, damaged or not."""
    stream = frame(NETWORK.magic, command, payload) * source.randint(1, 3)
    stream = mutated(stream, source)
    found = {name: scan(stream, NETWORK.magic, KNOWN) for name, scan in SCANS.items()}
    assert found["native"] == found["python"], f"{stream.hex()}: {found}"


def _case(pair: Pair, command: str, payload: bytes, source: random.Random) -> str:
    read = pair.read(command, payload)
    if not isinstance(read, MessageRecord):
        return "refused"
    written = pair.write(read)
    if source.random() < 0.25:
        pair.write(spoiled(read, source))
    return "accepted" if isinstance(written, bytes) else "accepted, not to be sent"


def main() -> None:
    """Run a campaign; exits with 1 if too few cases are accepted."""
    parser = argparse.ArgumentParser(prog="script/fuzz", description=(__doc__ or "").split(":")[0])
    parser.add_argument("seed", type=int, help="any number; the same gives the same cases")
    parser.add_argument("count", type=int, help="how many cases")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    arguments = parser.parse_args()
    require_native()
    began = time.monotonic()
    pool = make_pool(arguments.seed)
    print(f"pool: {sum(map(len, pool.values())):,} payloads of {len(pool)} commands", flush=True)
    sizes = [BATCH] * (arguments.count // BATCH)
    sizes += [arguments.count % BATCH] if arguments.count % BATCH else []
    jobs = [(arguments.seed * 1_000_003 + place, size) for place, size in enumerate(sizes)]
    outcomes: Counter[tuple[str, str]] = Counter()
    forked = multiprocessing.get_context("fork")
    # Unlike multiprocessing's own pool this one notices a worker that crashed.
    with ProcessPoolExecutor(arguments.jobs, forked, POOL.update, (pool,)) as workers:
        for done in workers.map(run, jobs):
            outcomes += done
    report(outcomes, time.monotonic() - began)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"largest process: {peak // 1024:,} MB")
    good = sum(number for (_, outcome), number in outcomes.items() if outcome != "refused")
    if good < LEAST_ACCEPTED * outcomes.total():
        sys.exit("too few cases were accepted to prove anything")


def report(outcomes: Counter[tuple[str, str]], seconds: float) -> None:
    """Print the cases by command and outcome."""
    kinds = sorted({outcome for _, outcome in outcomes})
    print(f"{'command':14}" + "".join(f"{kind:>26}" for kind in kinds))
    for command in sorted({command for command, _ in outcomes}):
        print(f"{command:14}" + "".join(f"{outcomes[command, kind]:>26,}" for kind in kinds))
    total = outcomes.total()
    sums = {kind: sum(outcomes[key] for key in outcomes if key[1] == kind) for kind in kinds}
    print(f"{'all':14}" + "".join(f"{sums[kind]:>26,}" for kind in kinds))
    accepted = total - sums.get("refused", 0)
    print(
        f"{total:,} cases in {seconds:.0f} s, {accepted / total:.0%} accepted by both engines, "
        "none on which they differ"
    )


if __name__ == "__main__":
    main()
