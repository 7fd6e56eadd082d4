"""The service over real loopback TCP: what a config starts, what its change changes, its end."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.errors import CaptureError
from lbcproxy.proxy import CannotListen
from lbcproxy.wire.envelope import frame
from tests.nodes import free_port, wait_until
from tests.proxy.loops import Loop, connect, listening
from tests.proxy.transports import NETWORK
from tests.service.served import Served
from tests.tools import TIMEOUT

PING = frame(NETWORK.magic, "ping", bytes(8))


def proxy(server: socket.socket, **settings: Any) -> dict[str, Any]:
    """A proxy whose upstream is a listening socket."""
    upstream = f"127.0.0.1:{server.getsockname()[1]}"
    return {"listen": free_port(), "upstream": upstream, **settings}


def echo(client: socket.socket, node: socket.socket) -> None:
    """See that bytes pass both ways."""
    client.sendall(PING)
    assert node.recv(100) == PING
    node.sendall(PING)
    assert client.recv(100) == PING


def accepts(port: int) -> bool:
    """Whether somebody listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def count(path: Path) -> int:
    """How many messages a capture holds."""
    return sum(1 for _ in open_capture(path))


def test_all_proxies_of_a_config_are_started(served: Served):
    """Each has its own upstream; one that is not enabled does not listen."""
    with listening() as one, listening() as other:
        first, second = proxy(one), proxy(other, name="second", record=None)
        third = proxy(other, enabled=False)
        served.start(first, second, third)
        for each, server in ((first, one), (second, other)):
            with connect(each["listen"], server) as (client, node):
                echo(client, node)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", third["listen"]), TIMEOUT)
    served.stop()
    assert count(served.folder / "x.pcapng") == 2
    assert "stopped: 2 sessions, 4 messages; recorded in " in served.log


@pytest.mark.parametrize("built", [True, False])
def test_a_missing_native_engine_is_logged_once(served: Served, monkeypatch, built: bool):
    """At the start, with what it costs and how to get it."""
    monkeypatch.setattr("lbcproxy.wire.engine.ENGINES", {"native": None} if built else {})
    with listening() as node:
        served.start(proxy(node))
    assert served.log.count("the native engine is not built") == (not built)


def test_proxies_are_added_removed_and_kept(served: Served):
    """A change is only a change: a session of what stays does not notice."""
    with listening() as one, listening() as other:
        kept, gone = proxy(one, name="kept"), proxy(other, name="gone")
        served.start(kept, gone)
        with (
            connect(kept["listen"], one) as (client, node),
            connect(gone["listen"], other) as (lost, _),
        ):
            echo(client, node)
            added = proxy(other, name="added")
            served.write(kept, added)
            served.hang_up()
            lost.settimeout(TIMEOUT)
            assert lost.recv(10) == b""
            with connect(added["listen"], other) as (late, node_of_late):
                echo(late, node_of_late)
            echo(client, node)
    assert "proxy gone stops: no longer configured" in served.log
    assert "config reloaded: 2 proxies" in served.log
    assert served.log.count(f"listening at 127.0.0.1:{kept['listen']}") == 1


def test_another_upstream_is_another_proxy(served: Served):
    """Its sessions end; the same port listens on."""
    with listening() as one, listening() as other:
        before = proxy(one, name="main")
        served.start(before)
        with connect(before["listen"], one) as (client, node):
            echo(client, node)
            served.write({**before, "upstream": proxy(other)["upstream"]})
            served.hang_up()
            client.settimeout(TIMEOUT)
            assert client.recv(10) == b""
        with connect(before["listen"], other) as (client, node):
            echo(client, node)


def test_other_settings_apply_to_new_sessions(served: Served):
    """Those there are go on, into the file they were recorded in."""
    with listening() as server:
        main = proxy(server, name="main")
        served.start(main)
        with connect(main["listen"], server) as (client, node):
            echo(client, node)
            changed = {"max_sessions": 2, "record": str(served.folder / "y.pcapng")}
            served.write(main, **changed)
            served.hang_up()
            echo(client, node)
            with connect(main["listen"], server) as (second, other_node):
                echo(second, other_node)
                with socket.create_connection(("127.0.0.1", main["listen"]), TIMEOUT) as third:
                    assert third.recv(10) == b""
    wait_until("it is logged", lambda: served.log.count("end: ") == 2)
    served.stop()
    assert count(served.folder / "x.pcapng") == 4
    assert count(served.folder / "y.pcapng") == 2
    assert "proxy main: new settings apply to new sessions" in served.log
    assert "refused: there are 2 sessions already (max_sessions)" in served.log


def test_changed_rotation_starts_another_file(served: Served):
    """The one there is still has sessions; nothing is written over, nothing torn."""
    with listening() as server:
        main = proxy(server, name="main")
        served.start(main)
        with connect(main["listen"], server) as (client, node):
            echo(client, node)
            served.write(main, rotate_size="1 GB")
            served.hang_up()
            with connect(main["listen"], server) as (second, other_node):
                echo(second, other_node)
            echo(client, node)
    wait_until("both have ended", lambda: served.log.count("end: ") == 2)
    served.stop()
    assert count(served.folder / "x.pcapng") == 4
    assert count(served.folder / "x-2.pcapng") == 2


def test_without_changes_nothing_happens(served: Served):
    """A SIGHUP to be sure costs nothing."""
    with listening() as server:
        main = proxy(server)
        served.start(main)
        with connect(main["listen"], server) as (client, node):
            served.hang_up()
            echo(client, node)
    assert "settings changed" not in served.log
    assert served.log.count("listening") == 1


@pytest.mark.parametrize("text", ["proxies: [", "proxies: []", "network: nope\n"])
def test_an_invalid_config_changes_nothing(served: Served, text: str):
    """The log says what and where."""
    with listening() as server:
        main = proxy(server)
        served.start(main)
        served.path.write_text(text)
        served.hang_up()
        with connect(main["listen"], server) as (client, node):
            echo(client, node)
    assert f"the config is unchanged: {served.path}" in served.log


def test_a_listener_that_cannot_be_opened_affects_no_other(served: Served):
    """At a change it is said, and the rest holds; at the start it is an error."""
    with listening() as server, listening() as busy:
        main, taken = proxy(server, name="main"), proxy(server, name="taken")
        taken["listen"] = busy.getsockname()[1]
        served.start(main)
        added = proxy(server, name="added")
        served.write(main, taken, added)
        served.hang_up()
        with connect(added["listen"], server) as (client, node):
            echo(client, node)
        assert f"proxy taken: cannot listen at 127.0.0.1:{taken['listen']}" in served.log
        served.stop()
        other = Served(served.loop, served.folder)
        with pytest.raises(CannotListen):
            other.start(added, taken)
        other.stop()
        wait_until("nobody listens", lambda: not accepts(added["listen"]))


def test_a_capture_that_cannot_be_written_is_an_error_at_the_start(served: Served, loop: Loop):
    """Before any listener is there."""
    (served.folder / "file").write_text("")
    with listening() as server, pytest.raises(CaptureError, match="cannot write"):
        served.start(proxy(server), record=str(served.folder / "file" / "x.pcapng"))
    served.service = None


def test_files_that_were_moved_are_reopened(served: Served):
    """The capture and the log, as log rotation wants it."""
    with listening() as server:
        main = proxy(server)
        served.start(main, log_file=str(served.folder / "log"))
        with connect(main["listen"], server) as (client, node):
            echo(client, node)
            (served.folder / "log").rename(served.folder / "log.1")
            (served.folder / "x.pcapng").rename(served.folder / "old.pcapng")
            served.hang_up()
            echo(client, node)
    wait_until("it is logged", lambda: "end: " in (served.folder / "log").read_text())
    served.stop()
    assert count(served.folder / "old.pcapng") == 2
    assert count(served.folder / "x.pcapng") == 2
    assert "client connect" in (served.folder / "log.1").read_text()


@pytest.mark.parametrize("policy", ["continue", "stop"])
def test_a_failing_disk_ends_all_sessions_or_none(served: Served, policy: str):
    """As the operator wants it; it is said in either case."""
    with listening() as server:
        main = proxy(server)
        served.start(main, record_failure=policy)
        served.service._recordings.disk.most = 10
        if policy == "continue":
            with connect(main["listen"], server) as (client, node):
                echo(client, node)
        else:
            with (
                suppress(ConnectionResetError),  # the upstream is not there yet
                socket.create_connection(("127.0.0.1", main["listen"]), TIMEOUT) as client,
            ):
                assert client.recv(100) == b""
            wait_until("it has given up", lambda: served.ended)
    served.stop()
    assert ("all sessions are ended" in served.log) == (policy == "stop")
    assert "were not recorded" in served.log
    assert served.service.failed


@pytest.mark.parametrize(("per", "files"), [("run", 1), ("listener", 2), ("session", 4)])
def test_what_has_a_file_of_its_own(served: Served, per: str, files: int):
    """The run, the listener, or the session."""
    with listening() as one, listening() as other:
        pair = proxy(one, name="a"), proxy(other, name="b")
        pattern = str(served.folder / {"session": "{session}.pcapng"}.get(per, "{name}.pcapng"))
        served.start(*pair, record=pattern, record_per=per)
        for each, server in zip(pair * 2, (one, other) * 2, strict=True):
            with connect(each["listen"], server) as (client, node):
                echo(client, node)
    wait_until("it is logged", lambda: served.log.count("end: ") == 4)
    served.stop()
    found = sorted(served.folder.glob("*.pcapng"))
    assert len(found) == files
    assert sum(map(count, found)) == 8
    if per == "listener":
        assert [file.name for file in found] == ["a.pcapng", "b.pcapng"]


def test_an_address_in_use_leaves_the_proxy_as_it_is(served: Served):
    """A mistyped port must not cost the sessions; the right one moves the proxy."""
    with listening() as server, listening() as busy:
        main = proxy(server, name="main")
        served.start(main)
        with connect(main["listen"], server) as (client, node):
            served.write({**main, "listen": busy.getsockname()[1]})
            served.hang_up()
            echo(client, node)
            served.write({**main, "listen": f"127.0.0.1:{main['listen']}"})
            served.hang_up()  # the same place in other words
            echo(client, node)
            moved = free_port()
            served.write({**main, "listen": moved})
            served.hang_up()
            client.settimeout(TIMEOUT)
            assert client.recv(10) == b""
        with connect(moved, server) as (client, node):
            echo(client, node)
    assert "proxy main: cannot listen at" in served.log
    assert served.log.count("proxy main stops") == 1


def test_of_simultaneous_changes_the_last_wins(served: Served, loop: Loop):
    """While a port is being freed another change may come, or the end."""
    with listening() as server, listening() as other:
        first = proxy(server, name="main")
        elsewhere = {**first, "upstream": proxy(other)["upstream"]}
        last = {**elsewhere, "listen": free_port()}
        served.start(first)

        def both() -> Any:
            for each in (elsewhere, last):
                served.write(each)
                done = served.service.hang_up()
            return done

        loop.call(both)
        wait_until("the last is there", lambda: accepts(last["listen"]))
        other.accept()[0].close()
        wait_until("the first is gone", lambda: not accepts(first["listen"]))

        def change_and_stop() -> Any:
            served.write({**last, "upstream": first["upstream"]})
            served.service.hang_up()
            return served.service.stopService()

        loop.call(change_and_stop)
        for _ in range(10):
            loop.call(lambda: None)  # a turn of the reactor
        assert not accepts(last["listen"])


def test_a_replaced_recording_is_reopened_too(served: Served):
    """It has sessions yet, and log rotation takes its file away as any other."""
    with listening() as server:
        main = proxy(server, name="main")
        served.start(main)
        with connect(main["listen"], server) as (client, node):
            echo(client, node)
            served.write(main, rotate_size="1 GB")
            served.hang_up()
            (served.folder / "x.pcapng").rename(served.folder / "old.pcapng")
            served.hang_up()
            echo(client, node)
    wait_until("it is logged", lambda: served.log.count("end: ") == 1)
    served.stop()
    assert count(served.folder / "old.pcapng") == 2
    assert count(served.folder / "x.pcapng") == 2
