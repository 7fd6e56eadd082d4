"""Tests of modes: what an operator writes, and what is said of what cannot be understood."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy import BadMode, Mode, parse_mode, syntax
from lbcproxy.proxy.modes import all_modes


@pytest.mark.parametrize(
    ("text", "upstream", "listen"),
    [
        ("reverse:10.0.0.1:9246@9247", ("10.0.0.1", 9246), ("127.0.0.1", 9247)),
        ("reverse:node.lbry.org:9246@0", ("node.lbry.org", 9246), ("127.0.0.1", 0)),
        ("reverse:a:1@0.0.0.0:2", ("a", 1), ("0.0.0.0", 2)),
        ("reverse:[2001:db8::1]:9246@9246", ("2001:db8::1", 9246), ("127.0.0.1", 9246)),
        ("reverse:[::1]:1@[::1]:2", ("::1", 1), ("::1", 2)),
        ("reverse:[::1]:1@[::]:0", ("::1", 1), ("::", 0)),
        ("reverse:tcp://a:1@2", ("a", 1), ("127.0.0.1", 2)),
        ("reverse:a:65535@65535", ("a", 65535), ("127.0.0.1", 65535)),
    ],
)
def test_a_mode_is_read(text: str, upstream: tuple[str, int], listen: tuple[str, int]):
    """The grammar of the design, with 127.0.0.1 where no listening host is named."""
    assert parse_mode(text) == Mode("reverse", (Endpoint(*upstream),), Endpoint(*listen))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        ("reverse", "reverse:HOST:PORT[,...]@[HOST:]PORT"),
        ("reverse:", "reverse:HOST:PORT[,...]@[HOST:]PORT"),
        ("reverse:a:1", "reverse:HOST:PORT[,...]@[HOST:]PORT"),
        ("forward:a:1@2", "'forward'"),
        ("Reverse:a:1@2", "'Reverse'"),
        ("reverse:a@2", "'a'"),
        ("reverse:@2", "''"),
        ("reverse:1@2", "'1' names no host"),
        ("reverse::1@2", "':1'"),
        ("reverse:a:1@", "''"),
        ("reverse:a:1@b", "'b'"),
        ("reverse:a:1@b:", "'b:'"),
        ("reverse:a:b@2", "'a:b'"),
        ("reverse:a:-1@2", "'a:-1'"),
        ("reverse:::1:1@2", "'::1:1'"),
        ("reverse:[]:1@2", "'[]:1'"),
        ("reverse:a:1@2@x", "'a:1@2'"),
        ("reverse:a:0@2", "0 is not a TCP port"),
        ("reverse:a:65536@2", "65536 is not a TCP port"),
        ("reverse:a:1@65536", "65536 is not a TCP port"),
        ("reverse@2", "write reverse:HOST:PORT[,...]@[HOST:]PORT"),
        ("reverse:a:1,@2", "'' is not HOST:PORT"),
        ("reverse:a:1,b@2", "'b' is not HOST:PORT"),
        ("reverse:a:1,b:2,a:1@2", "a:1 is listed twice"),
        ("socks5", "write socks5@[HOST:]PORT"),
        ("socks5@", "'' is not HOST:PORT"),
        ("socks5:a:1@2", "write socks5@[HOST:]PORT"),
        ("socks5:@2", "write socks5@[HOST:]PORT"),
        ("transparent@b", "'b' is not HOST:PORT"),
        ("reverse:a:1@99999999999999999999", "99999999999999999999 is not a TCP port"),
    ],
)
def test_what_is_wrong_with_a_mode_is_named(text: str, part: str):
    """The error for a mistyped mode names the wrong part and quotes the whole."""
    with pytest.raises(BadMode) as caught:
        parse_mode(text)
    assert part in str(caught.value)
    assert repr(text) in str(caught.value)


def test_an_ipv6_address_without_brackets_says_how_to_write_it():
    """The colons of a bare IPv6 address cannot be distinguished from the one before the port."""
    with pytest.raises(BadMode, match=r"IPv6 as \[::1\]:9246"):
        parse_mode("reverse:2001:db8::1:9246@9246")


@pytest.mark.parametrize("kind", ["socks5", "transparent"])
def test_a_mode_whose_clients_say_where_they_go_names_no_upstream(kind: str):
    """It only listens."""
    assert parse_mode(f"{kind}@1080") == Mode(kind, (), Endpoint("127.0.0.1", 1080))
    assert parse_mode(f"{kind}@[::]:0") == Mode(kind, (), Endpoint("::", 0))
    assert parse_mode(f"{kind}@1080").leads_to == "wherever a client asks for"


def test_upstreams_have_an_order():
    """The first that answers is taken."""
    mode = parse_mode("reverse:a:1,[::1]:2,b:1@3")
    assert mode.upstreams == (("a", 1), ("::1", 2), ("b", 1))
    assert mode.leads_to == "a:1, otherwise [::1]:2, otherwise b:1"


@pytest.mark.parametrize("kind", all_modes())
def test_a_mode_is_written_as_its_file_declares(kind: str):
    """Flags, config and errors say the same, since they ask the same."""
    written = syntax(kind).replace("HOST:PORT[,...]", "a:1,b:2").replace("[HOST:]PORT", "3")
    assert str(parse_mode(written)) == written.replace("@", "@127.0.0.1:")
    assert all_modes()[kind].help


hosts = st.one_of(
    st.ip_addresses().map(str), st.from_regex(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", fullmatch=True)
)


places = st.builds(Endpoint, hosts, st.integers(1, 65535))


@given(
    st.sampled_from(sorted(all_modes())),
    st.lists(places, min_size=1, max_size=3, unique=True),
    hosts,
    st.integers(0, 65535),
)
def test_a_mode_is_written_as_it_is_read(kind: str, upstreams: list[Endpoint], own: str, port: int):
    """What says where we listen can be pasted back as an option."""
    mode = Mode(kind, tuple(upstreams) if all_modes()[kind].upstream else (), Endpoint(own, port))
    assert parse_mode(str(mode)) == mode


@given(
    st.one_of(st.text(), st.text().map("reverse:{}".format), st.text().map("reverse:a:1@".__add__))
)
def test_no_text_brings_the_reader_down(text: str):
    """Whatever is typed, there is a mode or an error that the command line can show."""
    try:
        mode = parse_mode(text)
    except BadMode:
        return
    for upstream in mode.upstreams:
        assert 1 <= upstream.port <= 65535
        assert upstream.host
    assert 0 <= mode.listen.port <= 65535


def test_a_very_long_port_is_not_a_port():
    """Python refuses to read numbers of more than 4,300 digits, with an error of its own."""
    with pytest.raises(BadMode):
        parse_mode("reverse:a:1@" + "9" * 5000)
