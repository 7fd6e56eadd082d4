"""A host and a port, as they are written and read; `peer/test_lifecycle.py` has what is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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


@given(
    st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="[]")),
    st.integers(0, 65535),
)
@example("/run/node.sock", 0)
@example("", 7)
@example("a:b", 7)
@example("host@x", 7)
def test_whatever_a_host_is_called_it_is_read_again(host: str, port: int):
    """Captures name UNIX sockets and worse."""
    assert Endpoint.from_text(str(Endpoint(host, port))) == (host, port)


@pytest.mark.parametrize("text", ["", "x", "x:", ":x", "x:65536", "x:-1", "x:1 ", "x:123456"])
def test_what_is_not_an_endpoint_is_refused(text: str):
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        Endpoint.from_text(text)
