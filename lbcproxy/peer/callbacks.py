"""The callbacks of a peer: found by name on an object of the user's, checked when it is handed in.

Each may be plain or async; an async one holds back the later messages of its peer. One that
raises costs its peer the connection, and no other.

| name | called |
|---|---|
| `on_<command>(peer, record)` | when that message came, behind what the peer does by itself |
| `on_message(peer, message)` | when any message came, before the one for its command |
| `on_read(peer, size, message, error)` | first of all, for whatever was read, good or bad |
| `on_write(peer, size, record)` | when a message was handed to the transport |
| `on_ready(peer)` | when the handshake is done |
| `on_disconnected(peer, why)` | when the connection is gone |

`on_version` may return a `Reject`: it is sent, and the connection ends. `on_read`, `on_write`,
`on_ready` and `on_disconnected` are plain.
"""

from __future__ import annotations

import difflib
import inspect

from lbcproxy.wire.registry import OPAQUE, commands

__all__ = ["check_callbacks"]

PLAIN = ("on_read", "on_write", "on_ready", "on_disconnected")
GENERAL = ("on_message", *PLAIN)


def check_callbacks(callbacks: object) -> None:
    """Raise TypeError for a name that begins with `on_` and means nothing: it is misspelt.

    And for an async callback where nobody would wait for it: it would never run.
    """
    known = {*GENERAL, *(f"on_{command}" for command in commands())}
    for name in dir(callbacks):
        if name.startswith("on_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            words = f", did you mean {near[0]}?" if near else ""
            if name.removeprefix("on_") in OPAQUE:
                words = ": that command is passed unread, use on_message"
            raise TypeError(f"{type(callbacks).__name__}.{name} is no callback{words}")
    for name in PLAIN:
        if inspect.iscoroutinefunction(getattr(callbacks, name, None)):
            raise TypeError(
                f"{type(callbacks).__name__}.{name} cannot be async: it is not waited for"
            )
