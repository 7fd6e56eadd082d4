"""A host and a port, as they are written and read; `peer/test_lifecycle.py` has what is refused."""

import pytest

from lbcproxy.endpoint import Endpoint


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.1:9246", "10.0.0.1", 9246),
        ("node.example:0", "node.example", 0),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
    ],
)
def test_what_is_written_is_read_again(text: str, host: str, port: int):
    """IPv6 stands in brackets only where it is written."""
    assert Endpoint.parse(text) == (host, port)
    assert str(Endpoint.parse(text)) == text
