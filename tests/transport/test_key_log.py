"""Key logs: their lines, and lines that are none."""

from __future__ import annotations

from lbcproxy.transport.key_log import LABEL, KeyLog, LoggedSecret, format_line

ONE = LoggedSecret(bytes(range(64)), bytes(range(32)), b"\xfa\xe4\xaa\xf1")
OTHER = LoggedSecret(bytes(64), bytes(32), b"\xf9\xbe\xb4\xd9")


def test_a_line():
    """Label, public key, secret and magic, so that other programs can write it."""
    key, secret = bytes(range(64)).hex(), bytes(range(32)).hex()
    assert format_line(ONE) == f"BIP324_SHARED_SECRET {key} {secret} fae4aaf1\n"


def test_a_connection_is_found_by_its_first_bytes():
    """Whatever follows them; not by fewer of them."""
    key_log = KeyLog([format_line(OTHER), format_line(ONE)])
    assert len(key_log) == 2
    assert key_log.find(ONE.public_key + b"garbage") == ONE
    assert key_log.find(ONE.public_key[:63]) is None
    assert key_log.find(b"\1" * 64) is None


def test_other_lines_are_ignored():
    """Comments, empty lines and other labels; hexadecimal digits of any case are read."""
    lines = ["# a comment\n", "\n", "CLIENT_RANDOM 00 11\n", format_line(ONE).upper()]
    key_log = KeyLog(lines)
    assert (len(key_log), key_log.bad_lines) == (1, [])


def test_bad_lines_are_named():
    """And the others are read: a log that was cut off still serves."""
    line = format_line(ONE)
    lines = [line[:-10], line, f"{LABEL}\n", line.replace("fae4aaf1", "fae4aaf"), line + "x"]
    key_log = KeyLog(lines)
    assert (len(key_log), key_log.bad_lines) == (1, [1, 3, 4, 5])


def test_secrets_do_not_show():
    """Not in the text of the object either."""
    assert ONE.secret.hex() not in repr(ONE)
