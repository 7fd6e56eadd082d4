"""A light client of LBRY's regtest: asks a node for headers, follows the chain, fetches blocks.

It has a protocol of its own and knows nothing of lbcproxy, which only its tests use.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import struct
import time
from typing import NamedTuple, Self

MAGIC = bytes.fromhex("fae4aad1")
GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000"
    "00000000cc59e59ff97ac092b55e423aa5495151ed6fb80570a5bb78cd5bd1c3"
    "821c21b801000000000000000000000000000000000000000000000000000000"
    "0000000033193156ffff7f2001000000"
)
HEADER_SIZE = 112
BLOCK = 2
PROTOCOL_VERSION = 70013
TIMEOUT = 10.0


def double_sha(data: bytes) -> bytes:
    """Hash as the protocol does."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


class Missing(LookupError):
    """The node does not have what it was asked for."""


class Header(NamedTuple):
    """A block's header."""

    raw: bytes

    @property
    def hash(self) -> bytes:
        """The block's hash, as it stands on the wire."""
        return double_sha(self.raw)

    @property
    def previous(self) -> bytes:
        """The hash of the block before it."""
        return self.raw[4:36]


class LightClient:
    """A connection to one node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int) -> LightClient:
        """Connect and do the handshake."""
        client = cls(*await asyncio.wait_for(asyncio.open_connection(host, port), TIMEOUT))
        try:
            await client._shake_hands()
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def headers(self, *known: bytes) -> list[Header]:
        """Return what follows on the newest block we know, or on the genesis."""
        locator = b"".join(known) or double_sha(GENESIS)
        count = max(1, len(known))
        self._send("getheaders", struct.pack("<iB", PROTOCOL_VERSION, count) + locator + bytes(32))
        payload = await self._wait_for("headers")
        count, at = _compact_size(payload)
        step = HEADER_SIZE + 1
        return [Header(payload[at + n * step :][:HEADER_SIZE]) for n in range(count)]

    async def chain(self) -> list[Header]:
        """Follow the node's chain to its end; ValueError if headers do not follow on another."""
        found: list[Header] = []
        tip = double_sha(GENESIS)
        while more := await self.headers(tip):
            for header in more:
                if header.previous != tip:
                    raise ValueError(f"block {len(found) + 1} does not follow on the one before")
                found.append(header)
                tip = header.hash
        return found

    async def block(self, block_hash: bytes) -> bytes:
        """Fetch a block; Missing if the node does not have it."""
        self._send("getdata", struct.pack("<BI", 1, BLOCK) + block_hash)
        return await self._wait_for("block", refusal="notfound")

    async def close(self) -> None:
        """Leave."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _shake_hands(self) -> None:
        nobody = struct.pack("<Q16sH", 0, bytes(16), 0)
        self._send(
            "version",
            struct.pack("<iQq", PROTOCOL_VERSION, 0, int(time.time()))
            + nobody
            + nobody
            + struct.pack("<Q", time.time_ns())
            + bytes([13])
            + b"/lightclient/"
            + struct.pack("<i?", 0, False),
        )
        await self._wait_for("version")
        self._send("verack")
        await self._wait_for("verack")

    def _send(self, command: str, payload: bytes = b"") -> None:
        name = command.encode().ljust(12, b"\0")
        head = struct.pack("<4s12sI4s", MAGIC, name, len(payload), double_sha(payload)[:4])
        self._writer.write(head + payload)

    async def _wait_for(self, wanted: str, refusal: str = "") -> bytes:
        while True:
            command, payload = await asyncio.wait_for(self._receive(), TIMEOUT)
            if command == wanted:
                return payload
            if command == refusal:
                raise Missing(wanted)
            if command == "ping":
                self._send("pong", payload)

    async def _receive(self) -> tuple[str, bytes]:
        try:
            head = await self._reader.readexactly(24)
            magic, name, length, checksum = struct.unpack("<4s12sI4s", head)
            if magic != MAGIC:
                raise ConnectionError("the node does not speak our protocol")
            payload = await self._reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise ConnectionError("the node has closed the connection") from None
        if checksum != double_sha(payload)[:4]:
            raise ConnectionError("a message of the node is damaged")
        return name.rstrip(b"\0").decode(), payload


async def _fetch_chain(host: str, port: int) -> list[Header]:
    async with await LightClient.connect(host, port) as client:
        return await client.chain()


async def _fetch_block(host: str, port: int, block_hash: bytes) -> bytes:
    async with await LightClient.connect(host, port) as client:
        return await client.block(block_hash)


def fetch_chain(host: str, port: int) -> list[Header]:
    """Connect to a node and return all headers after the genesis."""
    return asyncio.run(_fetch_chain(host, port))


def fetch_block(host: str, port: int, block_hash: bytes) -> bytes:
    """Connect to a node and fetch one block."""
    return asyncio.run(_fetch_block(host, port, block_hash))


def _compact_size(data: bytes) -> tuple[int, int]:
    """Return a count and where what it counts begins."""
    if data[0] < 0xFD:
        return data[0], 1
    return int.from_bytes(data[1:3], "little"), 3
