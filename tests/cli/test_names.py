"""What a file's name promises is what is in it, whichever command names it."""

import pytest
import yaml

from lbcproxy.config import ConfigError, load, read
from tests.capture.roundtrip import entries_of
from tests.tools import CASES

OWN = CASES / "rotated" / "a.pcapng"
PROMISES = {
    "x.pcap": "pcap",
    "x.PCAP": "pcap",
    "x.cap": "pcap",
    "x.ndjson": "ndjson",
    "x.jsonl": "ndjson",
    "x.dat": "core",
    "x.pcapng.gz": "a compressed file (.gz)",
    "x.pcapng.zst": "a compressed file (.zst)",
    "x.gz": "a compressed file (.gz)",
    "x.pcapng.bz2": "a compressed file (.bz2)",
    "x.pcapng.XZ": "a compressed file (.xz)",
}


def commands(captures, out):
    """Return each command that records what happens live."""
    sync = captures / "lbcd-sync.pcap"
    return {
        "run": ("run", "--network", "lbry-regtest", "-m", "reverse:127.0.0.1:1@0", "-w", out),
        "demo": ("demo", "-w", out),
        "client": ("replay", "client", sync, "127.0.0.1:1", "-w", out),
        "server": ("replay", "server", sync, "--unknown", "pass:127.0.0.1:1", "-w", out),
    }


@pytest.mark.parametrize("name", PROMISES)
@pytest.mark.parametrize("command", ["run", "demo", "client", "server"])
def test_a_recording_with_the_suffix_of_another_format_is_refused(
    lbcproxy, captures, tmp_path, name, command
):
    """Recordings are pcapng; other formats are refused before anything happens."""
    out = tmp_path / name
    ended = lbcproxy(*commands(captures, out)[command])
    assert ended.code in (1, 2)
    assert f"a recording is pcapng, not {PROMISES[name]}" in ended.err
    assert "Traceback" not in ended.err
    assert not out.exists()


@pytest.mark.parametrize("key", ["record", "ring_file"])
def test_a_config_with_the_suffix_of_another_format_is_refused(tmp_path, key):
    """The error names its line."""
    path = tmp_path / "config.yaml"
    proxy = {"network": "lbry-regtest", "listen": 1, "upstream": "127.0.0.1:1", key: "x.pcap"}
    path.write_text(yaml.safe_dump({"proxies": [{**proxy, "name": "a"}]}))
    with pytest.raises(ConfigError, match="a recording is pcapng, not pcap"):
        load(*read(path))


@pytest.mark.parametrize("name", ["x.pcap", "x.ndjson", "x.pcapng.gz", "x.ndjson.zst"])
def test_what_is_made_offline_is_what_its_name_says(lbcproxy, captures, tmp_path, name):
    """In any format, as `convert` writes it."""
    out = tmp_path / name
    ended = lbcproxy("replay", "offline", "-q", captures / "lbcd-probe.pcap", "-w", out)
    assert ended.code == 0
    head = out.read_bytes()[:4]
    assert {
        ".pcap": head == b"\x4d\x3c\xb2\xa1",
        ".ndjson": head[:1] == b"{",
        ".gz": head[:2] == b"\x1f\x8b",
        ".zst": head == b"\x28\xb5\x2f\xfd",
    }[out.suffix]
    assert [each["raw"] for each in entries_of(out)] == [
        each["raw"] for each in entries_of(captures / "lbcd-probe.pcap")
    ]


@pytest.mark.parametrize("name", PROMISES)
def test_what_is_repaired_keeps_its_format(lbcproxy, tmp_path, name):
    """Its bytes are copied as they are."""
    out = tmp_path / name
    ended = lbcproxy("repair", OWN, "-o", out)
    assert ended.code == 2
    assert f"{out} has the suffix of {PROMISES[name]}" in ended.err
    assert not out.exists()


def test_other_names_are_allowed(lbcproxy, tmp_path):
    """What promises nothing is not refused."""
    out = tmp_path / "x.copy"
    assert lbcproxy("repair", OWN, "-o", out).code == 0
    assert out.read_bytes() == OWN.read_bytes()
