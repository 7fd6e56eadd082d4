"""What SOCKS 5 clients send, in bytes (RFC 1928)."""

from ipaddress import ip_address

NO_AUTH = b"\5\1\0"


PASSWORD = b"\5\1\2" + b"\1\4name\6secret"


REQUEST = b"\5\1\0"


TO_IPV4 = REQUEST + b"\1\12\0\0\1\x24\x1e"


NO_ADDRESS = b"\0\1\0\0\0\0\0\0"


def to_name(name: bytes, port: int = 9246) -> bytes:
    """A request for a host by its name."""
    return REQUEST + b"\3" + bytes((len(name),)) + name + port.to_bytes(2)


REQUESTS = {
    "anybody": NO_AUTH + TO_IPV4,
    "password": PASSWORD + TO_IPV4,
    "both": b"\5\2\2\0" + TO_IPV4,
    "name": NO_AUTH + to_name(b"node.example"),
    "ipv6": NO_AUTH + REQUEST + b"\4" + ip_address("2001:db8::1").packed + b"\x24\x1e",
    "early": NO_AUTH + TO_IPV4 + b"early",
    "no method": b"\5\2\1\3" + b"more",
    "bind": NO_AUTH + b"\5\2\0\1\12\0\0\1\x24\x1e",
    "kind": NO_AUTH + b"\5\1\0\5\12\0\0\1\x24\x1e",
    "socks 4": b"\4\1\x24\x1e\12\0\0\1\0",
    "no name": NO_AUTH + to_name(b""),
}
