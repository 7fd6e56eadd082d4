"""What `script/slow-captures` runs: the commands over captures of gigabytes, with their memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lbcproxy import networks
from lbcproxy.capture import Recorder, open_capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.resources import folder
from lbcproxy.session import Direction, Session, SessionInfo
from lbcproxy.wire.envelope import frame
from tests.session.feed import Feed

GROWTH = 8_000_000
"""Bytes that a command may take more for the largest file than for the smallest."""
SIZES = (1.0, 5.0)
BLOCK = 500_000
NETWORK = networks.get("lbry-regtest")
SESSION = 31_000_000_000
"""Nanoseconds from one session to the next."""
MEASURED = (
    "import resource, subprocess, sys\n"
    "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
    "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "print(used.ru_maxrss * 1024, used.ru_utime + used.ru_stime, done.returncode)"
)


def write(path: Path, size: int) -> None:
    """Record sessions, one after the other: the real one of lbcd, and a long block in each."""
    talk = [
        (each.direction, each.raw) for each in open_capture(folder("captures") / "lbcd-sync.pcap")
    ]
    talk.append((Direction.TO_CLIENT, _long_block()))
    written = 0

    with path.open("wb") as file:

        def count(data: bytes) -> None:
            nonlocal written
            written += len(data)
            file.write(data)

        recorder = Feed(Recorder(count, network=NETWORK.id))
        for number in itertools.count(1):
            if written >= size:
                break
            _record(recorder, number, talk)


def _record(recorder: Recorder, number: int, talk: list[tuple[Direction, bytes]]) -> None:
    info = SessionInfo(
        number=number,
        network=NETWORK.id,
        client=Endpoint(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 40_000),
        listen=Endpoint("127.0.0.1", 29_246),
        upstream=Endpoint("127.0.0.1", 29_247),
    )
    session = Session(number, NETWORK)
    times = itertools.count(1_700_000_000_000_000_000 + number * SESSION, 1_000_000)
    recorder.started(info, next(times))
    for direction, raw in talk:
        time_ns = next(times)
        recorder.passed(info, direction, session.receive(direction, raw, time_ns), time_ns)
    for direction in Direction:
        recorder.finished(info, direction, next(times))


def _long_block() -> bytes:
    """Make one of what the capture has: its transactions, many times."""
    entries = list(open_capture(folder("captures") / "lbcd-sync.pcap"))
    block = next(each.message for each in entries if each.command == "block")
    tx = next(each.message for each in entries if each.command == "tx")
    assert block is not None
    assert tx is not None
    times = BLOCK // tx.length
    header = block.payload[: len(block.record.header.to_bytes())]
    return frame(
        NETWORK.magic, "block", header + b"\xfd" + times.to_bytes(2, "little") + tx.payload * times
    )


def commands(path: Path, out: Path) -> Iterator[tuple[str, list[str]]]:
    """Return what is measured, by name."""
    yield "info", ["info", str(path)]
    yield "show FILTER", ["show", str(path), "tx and any(o.value > 5000 for o in tx.outputs)"]
    yield "cut FILTER", ["cut", "--force", str(path), str(out), "tx or inv"]
    yield "info --quick", ["info", "--quick", str(path)]
    yield "cut --from", ["cut", "--force", str(path), str(out), "--from", "+100"]


def main() -> int:
    """Measure, print a table, and return 1 if a bound does not hold."""
    sizes = [int(float(each) * 1e9) for each in sys.argv[1:]] or [int(s * 1e9) for s in SIZES]
    peaks: dict[str, list[int]] = {}
    bad = 0
    with tempfile.TemporaryDirectory() as place:
        path, out = Path(place) / "long.pcapng", Path(place) / "part.pcapng"
        for size in sizes:
            begin = time.monotonic()
            write(path, size)
            real = path.stat().st_size
            took = time.monotonic() - begin
            sys.stdout.write(f"{real / 1e9:.2f} GB, written at {real / took / 1e6:.1f} MB/s\n")
            for name, arguments in commands(path, out):
                begin = time.monotonic()
                command = [sys.executable, "-m", "lbcproxy", *arguments]
                done = subprocess.run(
                    [sys.executable, "-c", MEASURED, *command],
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                took = time.monotonic() - begin
                shown_peak, cpu, code = done.stdout.split()
                peak = int(shown_peak)
                bad += code != "0"
                peaks.setdefault(name, []).append(peak)
                sys.stdout.write(
                    f"  {name:<13} {real / took / 1e6:6.1f} MB/s, {real / float(cpu) / 1e6:6.1f} "
                    f"of processor time, {took:7.1f} s, at most {peak / 1e6:6.1f} MB resident\n"
                )
                sys.stdout.flush()
                out.unlink(missing_ok=True)
            path.unlink()
    for name, found in peaks.items():
        grown = found[-1] - found[0]
        bad += grown > GROWTH
        sys.stdout.write(f"{name}: grown {grown / 1e6:+.1f} MB\n")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
