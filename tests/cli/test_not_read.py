"""Every command reports what it did not read of a capture."""

import json
import struct

import pytest

from tests.capture.ip_packets import ethernet, ipv4, udp

ESP = ethernet(0x0800, ipv4(50, bytes(60)))
DNS = ethernet(0x0800, ipv4(17, udp(53, bytes(30))))
SENTENCE = "lbcproxy: 3 packets hold no TCP that is read: ESP 3\n"


@pytest.fixture
def make(captures, tmp_path):
    """Make a pcap of the packets of a real one, if wanted, and others."""

    def make(*others, real=True):
        data = (captures / "lbcd-sync.pcap").read_bytes()
        data = data if real else data[:24]
        seconds = struct.unpack_from("<I", (captures / "lbcd-sync.pcap").read_bytes(), 24)[0]
        for each in others:
            data += struct.pack("<IIII", seconds + 60, 0, len(each), len(each)) + each
        path = tmp_path / "in.pcap"
        path.write_bytes(data)
        return path

    return make


def commands(path, tmp_path):
    """Every command that reads a capture and needs no node, as arguments."""
    return {
        "show": ("show", path),
        "convert": ("convert", path, tmp_path / "convert.pcapng"),
        "cut": ("cut", path, tmp_path / "cut.pcapng"),
        "merge": ("merge", path, "-w", tmp_path / "merge.pcapng"),
        "anonymise": ("anonymise", path, tmp_path / "anonymise.pcapng"),
        "replay offline": ("replay", "offline", path),
    }


NAMES = ["show", "convert", "cut", "merge", "anonymise", "replay offline"]


@pytest.mark.parametrize("name", NAMES)
def test_a_tunnel_is_named_on_standard_error(lbcproxy, make, tmp_path, name):
    """One line is printed, and the rest is read; next to TCP, DNS is not worth a notice."""
    path = make(ESP, DNS, ESP, DNS, ESP)
    ended = lbcproxy(*commands(path, tmp_path)[name])
    assert ended.code == 0
    assert ended.err.endswith(SENTENCE) or SENTENCE in ended.err
    assert "UDP" not in ended.err


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_protocols_are_named_if_there_is_no_tcp(lbcproxy, make, tmp_path, name):
    """A capture of the wrong interface shows what was on it."""
    ended = lbcproxy(*commands(make(DNS, DNS, real=False), tmp_path)[name])
    assert ended.code == 0
    assert "lbcproxy: 2 packets hold no TCP that is read: UDP 2\n" in ended.err


@pytest.mark.parametrize("name", [*NAMES, "info"])
def test_a_file_of_a_tunnel_alone_fails_with_its_name(lbcproxy, make, tmp_path, name):
    """Its content is unknown, which is not a success."""
    path = make(ESP, DNS, real=False)
    ended = lbcproxy(*{**commands(path, tmp_path), "info": ("info", path)}[name])
    assert ended.code == 1
    assert ended.err.count("2 packets hold no TCP that is read: ESP 1, UDP 1") == 1


def test_diff_says_it_of_either_file(lbcproxy, make, captures):
    path = make(ESP, DNS)
    ended = lbcproxy("diff", captures / "lbcd-sync.pcap", path)
    assert "1 packet holds no TCP that is read: ESP 1" in ended.out


def test_info_lists_ordinary_protocols_too(lbcproxy, make):
    """In text, and as data."""
    path = make(DNS, ESP, DNS)
    ended = lbcproxy("info", path)
    assert (ended.code, ended.err) == (0, "")
    assert "  not read  3 packets hold no TCP that is read: UDP 2, ESP 1\n" in ended.out
    shown = json.loads(lbcproxy("info", "-T", "json", path).out)
    assert shown["notices"] == ["3 packets hold no TCP that is read: UDP 2, ESP 1"]
    assert shown["dropped"] == [
        {"reason": "encapsulation", "detail": "ESP", "packets": 1, "bytes": 0},
        {"reason": "not-tcp", "detail": "UDP", "packets": 2, "bytes": 0},
    ]
