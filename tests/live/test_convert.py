"""What lbcproxy records between two live btcd nodes, in every format and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcproxy.capture import events, open_capture
from lbcproxy.capture.events import SectionHeader
from tests.capture.changed_traffic import legs
from tests.capture.formats.core_files import independently
from tests.capture.roundtrip import (
    FORMAT_PAIRS,
    LOSSLESS,
    converted,
    core_messages,
    entries_of,
    session_events,
)
from tests.live.proxies import Proxy
from tests.nodes import KINDS, Node, wait_until
from tests.tools import tshark

pytestmark = pytest.mark.live

BLOCKS = 12
KIND = KINDS["btcd"]
CHANGES = ("-s", "user_agent agent=/seen/through:1.0/", "-s", "black_hole")


@pytest.fixture(scope="module", params=[("--legs", "both"), CHANGES], ids=["relayed", "changed"])
def recording(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Path]:
    """A sync of a few blocks, as it was and with plugins that rewrite and drop."""
    folder = tmp_path_factory.mktemp("convert")
    a = Node(KIND, folder / "a")
    proxy = b = None
    try:
        a.start()
        a.generate(BLOCKS)
        proxy = Proxy(KIND.network, a.port, folder / "proxy", *request.param)
        b = Node(KIND, folder / "b", connect=proxy.port)
        b.start()
        wait_until("B has A's blocks", lambda: b.height >= BLOCKS, 60)
        b.stop()
        assert proxy.stop() == 0
        yield proxy.capture
    finally:
        for each in (proxy, b, a):
            if isinstance(each, Proxy):
                each.close()
            elif each is not None:
                each.stop()


def test_it_holds_a_sync(recording: Path):
    """Blocks, and what became of what was changed."""
    found = entries_of(recording)
    assert [each["command"] for each in found].count("block") == BLOCKS
    assert len(legs(recording)) == 2
    [header] = [each for each in events(open_capture(recording)) if isinstance(each, SectionHeader)]
    verdicts = {each["verdict"] for each in found}
    assert verdicts == ({"pass", "rewrite"} if header.changes else {"pass"})


@pytest.mark.parametrize("name", LOSSLESS)
def test_it_comes_back_whole(recording: Path, tmp_path: Path, name: str):
    """Entries, verdicts, trails, both legs, sessions."""
    other = converted(recording, tmp_path / "1", name)
    back = converted(other, tmp_path / "2", "x.pcapng")
    for each in (other, back):
        assert entries_of(each) == entries_of(recording)
        assert session_events(each) == session_events(recording)
    assert legs(back) == legs(recording)


@pytest.mark.parametrize("pair", FORMAT_PAIRS, ids=" to ".join)
def test_it_goes_from_any_format_to_any(recording: Path, tmp_path: Path, pair):
    """What both can hold of it: with changes, pcap and Core's have no verdicts."""
    first = converted(recording, tmp_path / "1", pair[0])
    second = converted(first, tmp_path / "2", pair[1], KIND.network_id)
    changed = any(each["verdict"] != "pass" for each in entries_of(recording))
    if not changed:
        assert core_messages(second, KIND.network_id) == core_messages(recording, KIND.network_id)
    elif "core/" not in pair and not any("pcap." in each + "." for each in pair):
        assert entries_of(second) == entries_of(recording)
    elif "core/" not in pair:
        assert legs(tcp(second, tmp_path)) == legs(recording)


def tcp(path: Path, tmp_path: Path) -> Path:
    """A capture as packets."""
    return path if "pcap" in path.name else converted(path, tmp_path / "3", "x.pcap")


def test_wireshark_reads_what_is_written(recording: Path, tmp_path: Path):
    """Every frame of it, without complaint."""
    counts = set()
    for name in ("x.pcapng", "x.pcap", "x.pcapng.gz", "x.pcap.zst"):
        other = converted(recording, tmp_path / name, name)
        assert tshark("-r", str(other), "-Y", "tcp.analysis.flags || _ws.malformed") == ""
        shown = tshark("-r", str(other), "-Y", "bitcoin", "-T", "fields", "-e", "bitcoin.command")
        counts.add(shown.replace("\n", ",").count("block"))
    assert counts
    assert min(counts) >= BLOCKS


def test_core_would_have_captured_the_same(recording: Path, tmp_path: Path):
    """As the node behind the proxy got and sent it."""
    out = converted(recording, tmp_path, "core/")
    files = list(out.rglob("msgs_sent.dat"))
    said = [each for file in files for each in independently(file.read_bytes())]
    assert [each.command for each in said].count(b"block") == BLOCKS
