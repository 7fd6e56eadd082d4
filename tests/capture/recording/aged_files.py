"""Captures and other files of a given age."""

import os

from lbcproxy.capture import Recorder
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.writing.pcapng_blocks import build_block, build_options
from tests.capture.fake_sessions import MIDNIGHT, NETWORK, SECOND, FakeSessions, ping

NOW = MIDNIGHT + 1000 * SECOND
DAY = 86_400 * SECOND


def capture(path, *, age=0, messages=10):
    """Write a capture of ours, last written so many seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    play = FakeSessions(Recorder(parts.append, network=NETWORK.id))
    play.start(1)
    for number in range(messages):
        play.receive(1, ping(number))
    play.end(1)
    path.write_bytes(b"".join(parts))
    dated(path, age)
    return path


def dated(path, age):
    """Set the time of the last write to some seconds ago."""
    moment = NOW - age * SECOND
    os.utime(path, ns=(moment, moment))


def foreign_capture(custom=None):
    """Return a pcapng of others, which may have a note in the way of ours."""
    body = b"\x4d\x3c\x2b\x1a\x01\x00\x00\x00" + b"\xff" * 8
    if custom is not None:
        value = pcapng.PEN.to_bytes(4, "little") + custom
        body += build_options((pcapng.OPTION_CUSTOM, value))
    return build_block(pcapng.SECTION, body)


def foreign(path, *, age=0):
    """Write a pcapng of others."""
    path.write_bytes(foreign_capture() + bytes(5000))
    dated(path, age)
    return path
