"""What a command says it wrote is what reading gives back, over all formats and all cases.

No figure stands here: what is read of the original is compared with what is read of what was
written. So the reader may be wrong about a file, but never the writer.
"""

import re
from itertools import product
from pathlib import Path

import pytest

from lbcproxy.capture import events, open_capture
from lbcproxy.capture.events import CaptureSessionEnded
from lbcproxy.capture.tools.convert import choose_format, open_writer
from lbcproxy.session.events import Delivered, SessionStarted
from tests.capture.roundtrip import CAPTURES, FORMATS, entries_of
from tests.tools import CASES

BY_NAME = {
    **{path.name: path for path in sorted(CASES.glob("*.pcap*"))},
    **{path.name: path for path in sorted(CASES.glob("core_*"))},
    **{path.name: path for path in sorted((CASES / "rotated").iterdir())[::3]},
    **{path.name: path for path in CAPTURES},
}
INPUTS = tuple(BY_NAME)
PLAIN = ("x.pcapng", "x.pcap", "x.ndjson", "core/")


def network_of(path: Path) -> str | None:
    """Return the network that has to be given, because Core's files do not name one."""
    return "bitcoin-mainnet" if path.name.startswith("core_") else None


def said_of(network: str | None) -> tuple[str, ...]:
    """Return the option for it."""
    return () if network is None else ("--network", network)


def convert(
    path: Path, folder: Path, name: str, network: str | None
) -> tuple[Path, dict[str, int]]:
    """Write a capture in a format; return what that could not hold."""
    out = folder / name
    (out if name.endswith("/") else folder).mkdir(parents=True)
    with open_writer(out, choose_format(out)) as writer:
        for event in events(open_capture(path, network)):
            writer.handle(event)
    return out, dict(writer.unsupported)


def of_sessions(path: Path, network: str | None) -> list[tuple[object, ...]]:
    """Return the sessions of a capture: who, whether its beginning is there, how it ended."""
    happened = list(events(open_capture(path, network)))
    begun = {each.info.number: each for each in happened if isinstance(each, SessionStarted)}
    return sorted(
        (
            each.info.number,
            each.info.network,
            str(begun[each.info.number].info.client),
            str(begun[each.info.number].info.upstream),
            begun[each.info.number].from_start,
            begun[each.info.number].time_ns,
            each.closed,
            each.report.end,
        )
        for each in happened
        if isinstance(each, CaptureSessionEnded)
    )


def in_pcap(entries: list[dict[str, object]], lacks: dict[str, int]) -> list[dict[str, object]]:
    """Return what a pcap can hold of entries.

    Where it lacks the version that was agreed before, messages may be read as something else.
    """
    lost: dict[str, object] = {"verdict": "pass", "trail": (), "session": 0, "number": 0}
    if lacks.get("versions agreed on before"):
        lost |= {"version": None, "message": None}
    return [each | lost for each in entries]


def in_core(entries: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """Return what Core's files can hold of entries: messages, with microseconds.

    In what order those of one microsecond came is not said.
    """
    return sorted(
        (each["time_ns"] // 1_000, each["direction"], each["command"], each["raw"][24:])
        for each in entries
        if each["network"] is not None
    )


def compare(before: Path, after: Path, name: str, lacks: dict[str, int], network: str | None):
    """Compare what is read of a file with what is read of it in another format."""
    wanted = entries_of(before, network)
    if name.endswith("/"):
        network = next((each["network"] for each in wanted if each["network"]), network)
        found = entries_of(after, network)
        assert in_core(found) == in_core(wanted)
        assert lacks.get("gaps", 0) == sum(bool(each["missing"]) for each in wanted)
        assert lacks.get("pieces that are not messages", 0) == sum(
            each["network"] is None and not each["missing"] for each in wanted
        )
    elif ".pcap" in name and ".pcapng" not in name:
        found = entries_of(after, network)
        assert in_pcap(found, lacks) == in_pcap(wanted, lacks)
        judged = sum(each["verdict"] != "pass" for each in wanted)
        assert lacks.get("verdicts and what decided them", 0) == judged
    else:
        assert not lacks
        assert entries_of(after, network) == wanted
        assert of_sessions(after, network) == of_sessions(before, network)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", INPUTS)
def test_every_format_of_every_case(tmp_path: Path, case: str, name: str):
    """All that the format can hold; the rest is counted."""
    path = BY_NAME[case]
    network = network_of(path)
    out, lacks = convert(path, tmp_path / "out", name, network)
    compare(path, out, name, lacks, network)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), product(PLAIN, PLAIN))
@pytest.mark.parametrize("case", INPUTS)
def test_every_format_into_every_other(tmp_path: Path, case: str, first: str, second: str):
    """What has been written once is written again as it is."""
    path = BY_NAME[case]
    network = network_of(path)
    middle, _ = convert(path, tmp_path / "1", first, network)
    if first == "core/":
        found = [each["network"] for each in entries_of(path, network) if each["network"]]
        network = found[0]
    out, lacks = convert(middle, tmp_path / "2", second, network)
    compare(middle, out, second, lacks, network)


def written_by(lbcproxy, command: str, path: Path, out: Path) -> int:
    """Call a command that writes a capture; return how many messages it says it wrote."""
    more = said_of(network_of(path))
    form = ("-F", "core") if out.suffix == "" else ()
    arguments = {
        "convert": ("convert", path, out, *form),
        "cut": ("cut", path, out, *form),
        "merge": ("merge", "-q", path, "-w", out, *form),
        "anonymise": ("anonymise", path, out, "--seed", "s", *form),
    }[command]
    ended = lbcproxy(*arguments, *more)
    assert ended.code == 0, ended
    found = re.search(r"Wrote ([\d,]+) messages", ended.out)
    assert found is not None, ended
    return int(found[1].replace(",", ""))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.pcapng", "x.pcap.gz", "x.ndjson", "core"])
@pytest.mark.parametrize("command", ["convert", "cut", "merge", "anonymise"])
@pytest.mark.parametrize("case", INPUTS)
def test_commands_report_what_they_wrote(
    lbcproxy, tmp_path: Path, case: str, command: str, name: str
):
    """Their count is what reading returns, without gaps and bytes that are not a message."""
    path, out = BY_NAME[case], tmp_path / name
    count = written_by(lbcproxy, command, path, out)
    first = entries_of(path, network_of(path))
    network = network_of(path)
    if name == "core":
        network = next(each["network"] for each in first if each["network"])
    if count or name != "core":
        happened = events(open_capture(out, network))
        assert sum(each.messages for each in happened if isinstance(each, Delivered)) == count


@pytest.mark.parametrize("name", ["x.pcapng", "x.pcap", "x.ndjson.gz"])
@pytest.mark.parametrize("case", INPUTS)
def test_an_offline_replay_writes_what_it_prints(lbcproxy, tmp_path: Path, case: str, name: str):
    """What `replay offline` prints is what it wrote."""
    path, out = BY_NAME[case], tmp_path / name
    network = said_of(network_of(path))
    fields = ("-T", "fields", "-e", "direction", "-e", "command", "-e", "error")
    ended = lbcproxy("replay", "offline", path, "-w", out, *fields, *network)
    assert ended.code == 0, ended
    shown = lbcproxy("show", out, *fields)
    # Where a pcap has a gap, it is reported when it is sure: the other side may have gone on.
    assert sorted(shown.lines, key=by_direction) == sorted(ended.lines, key=by_direction)


def by_direction(line: str) -> bool:
    """Return what to sort lines by so that each direction keeps its order."""
    return line.startswith("to_client")
