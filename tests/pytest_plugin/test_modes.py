"""Record modes: what is played, what is recorded, and what is left alone."""

from __future__ import annotations

import pytest

from lbcproxy.capture import open_capture
from tests.pytest_plugin.projects import CHAIN, FILE, outcome

CHAIN_AND_BLOCK = """
@pytest.mark.capture
def test_chain(recorded_node):
    chain = lightclient.fetch_chain(*recorded_node.address)
    block = lightclient.fetch_block(*recorded_node.address, chain[0].hash)
    assert block.startswith(chain[0].raw)
"""
SILENT = """
@pytest.mark.capture
def test_chain(recorded_node):
    assert recorded_node.port
"""


def commands(path) -> list[str]:
    return [entry.command for entry in open_capture(path)]


@pytest.mark.parametrize("mode", ["once", "new_episodes", "all", "rewrite"])
def test_what_is_recorded_is_played_without_the_node(project, upstream, mode):
    """The purpose of it: recorded once, the test needs no node any more."""
    project.tests(CHAIN)
    project.config(network="lbry-regtest", upstream=upstream.address)
    recorded = project.run(f"--record-mode={mode}")
    recorded.stdout.fnmatch_lines([f"recorded {FILE} (* messages)"])
    assert outcome(recorded) == {"passed": 1}
    assert project.captures == [FILE]
    before = upstream.heard
    project.config()
    assert outcome(project.run()) == {"passed": 1}
    assert upstream.heard == before


def test_without_a_mode_nothing_is_recorded(project, upstream):
    """A test run in CI never records by accident; the failure says what would."""
    project.tests(CHAIN)
    project.config(network="lbry-regtest", upstream=upstream.address)
    result = project.run()
    result.stdout.fnmatch_lines(
        [f"lbcproxy: there is no capture {FILE}; to record it from *: --record-mode=once"]
    )
    assert outcome(result) == {"errors": 1}
    assert project.captures == []
    assert upstream.heard == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "again"), [("none", False), ("once", False), ("all", True), ("rewrite", True)]
)
def test_anyone_who_records_again_what_is_there(project, upstream, mode, again):
    """`once` records what is missing alone; `all` and `rewrite` ask the node each time."""
    project.tests(CHAIN)
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.run("--record-mode=once")
    first, before = (project.path / FILE).read_bytes(), upstream.heard
    assert outcome(project.run(f"--record-mode={mode}")) == {"passed": 1}
    assert (upstream.heard > before) is again
    assert ((project.path / FILE).read_bytes() != first) is again


def test_new_episodes_adds_what_is_new_and_keeps_what_was(project, upstream):
    """The recording grows with the test; what it has is not asked for again."""
    project.tests(CHAIN)
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.run("--record-mode=once")
    before = commands(project.path / FILE)
    project.tests(CHAIN_AND_BLOCK)
    assert outcome(project.run("--record-mode=once")) == {"failed": 1}
    assert commands(project.path / FILE) == before
    result = project.run("--record-mode=new_episodes")
    assert outcome(result) == {"passed": 1}
    result.stdout.fnmatch_lines([f"recorded {FILE} (2 messages)"])
    assert commands(project.path / FILE) == [*before, "getdata", "block"]
    project.config()
    assert outcome(project.run()) == {"passed": 1}


def test_new_episodes_without_anything_new_leaves_the_file(project, upstream):
    """It is written only for a reason."""
    project.tests(CHAIN)
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.run("--record-mode=once")
    first = (project.path / FILE).read_bytes()
    result = project.run("--record-mode=new_episodes")
    assert outcome(result) == {"passed": 1}
    result.stdout.no_fnmatch_line("recorded *")
    assert (project.path / FILE).read_bytes() == first


@pytest.mark.parametrize("mode", ["once", "new_episodes", "all", "rewrite"])
def test_a_failed_test_records_nothing_and_says_so(project, upstream, mode):
    """Else the next run would play the failure."""
    project.tests(CHAIN.replace("306", "7"))
    project.config(network="lbry-regtest", upstream=upstream.address)
    result = project.run(f"--record-mode={mode}")
    assert outcome(result) == {"failed": 1}
    result.stdout.fnmatch_lines([f"not recorded, since the test failed: {FILE}"])
    assert project.captures == []


@pytest.mark.parametrize("mode", ["all", "new_episodes", "rewrite"])
def test_a_failed_test_keeps_the_recording_before(project, upstream, mode):
    """It was good, and there may be no other."""
    project.tests(CHAIN)
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.run("--record-mode=once")
    first = (project.path / FILE).read_bytes()
    project.tests(CHAIN_AND_BLOCK + "    assert False\n")
    assert outcome(project.run(f"--record-mode={mode}")) == {"failed": 1}
    assert project.captures == [FILE]
    assert (project.path / FILE).read_bytes() == first


def test_rewrite_deletes_what_a_passing_test_no_longer_needs(project, upstream):
    """That is what it does and `all` does not."""
    project.tests(CHAIN)
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.run("--record-mode=once")
    project.tests(SILENT)
    assert outcome(project.run("--record-mode=all")) == {"passed": 1}
    assert project.captures == [FILE]
    project.tests(SILENT + "    assert False\n")
    assert outcome(project.run("--record-mode=rewrite")) == {"failed": 1}
    assert project.captures == [FILE]
    project.tests(SILENT)
    result = project.run("--record-mode=rewrite")
    assert outcome(result) == {"passed": 1}
    result.stdout.fnmatch_lines([f"deleted {FILE}, since nothing passed"])
    assert project.captures == []


def test_an_expected_failure_records_nothing(project, upstream):
    """It failed anyway."""
    project.tests("@pytest.mark.xfail" + CHAIN.replace("306", "7"))
    project.config(network="lbry-regtest", upstream=upstream.address)
    assert outcome(project.run("--record-mode=all")) == {"xfailed": 1}
    assert project.captures == []


def test_a_test_that_connects_to_nobody_records_nothing(project, upstream):
    """An empty capture could not be played."""
    project.tests("def test_it(recorded_node):\n    assert recorded_node.is_recording\n")
    project.config(network="lbry-regtest", upstream=upstream.address)
    result = project.run("--record-mode=once")
    result.stdout.fnmatch_lines(
        ["nothing passed, so nothing is recorded: captures/test_it/test_it.pcapng"]
    )
    assert project.captures == []


@pytest.mark.slow
def test_an_upstream_that_is_not_there_is_named(project):
    """The test fails by itself, and gets the reason."""
    project.tests(CHAIN)
    project.config(network="lbry-regtest", upstream="127.0.0.1:1")
    result = project.run("--record-mode=once")
    assert outcome(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["*recording from 127.0.0.1:1*", "*Connection refused*"])
    assert project.captures == []


def test_each_connection_is_a_session_and_meets_its_own_again(project, upstream):
    """A test whose client comes back finds what it found."""
    project.tests(CHAIN_AND_BLOCK)
    project.config(network="lbry-regtest", upstream=upstream.address)
    assert outcome(project.run("--record-mode=once")) == {"passed": 1}
    assert {entry.session for entry in open_capture(project.path / FILE)} == {1, 2}
    project.config()
    assert outcome(project.run()) == {"passed": 1}


def test_new_episodes_keeps_all_sessions(project, upstream):
    """Also those that this run did not meet."""
    project.tests(CHAIN_AND_BLOCK)
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.run("--record-mode=once")
    before = [(entry.session, entry.command) for entry in open_capture(project.path / FILE)]
    project.tests(CHAIN_AND_BLOCK.replace("chain[0].hash", "chain[1].hash").replace("[0]", "[1]"))
    assert outcome(project.run("--record-mode=new_episodes")) == {"passed": 1}
    after = [(entry.session, entry.command) for entry in open_capture(project.path / FILE)]
    assert sorted(after) == sorted([*before, (2, "getdata"), (2, "block")])
    project.config()
    assert outcome(project.run()) == {"passed": 1}


def test_a_mode_may_stand_in_the_mark_and_the_command_line_goes_before(project, upstream):
    """A mark says what is usual, a person what is wanted now."""
    project.tests(CHAIN.replace("capture", 'capture(record_mode="once")'))
    project.config(network="lbry-regtest", upstream=upstream.address)
    assert outcome(project.run("--record-mode=none")) == {"errors": 1}
    assert outcome(project.run()) == {"passed": 1}
    assert project.captures == [FILE]


def test_replayed_node_plays_whatever_the_mode(project):
    """A capture made by hand has no node to be recorded from."""
    project.tests(
        """
        @pytest.mark.capture("captures/sync.pcap")
        def test_chain(replayed_node):
            assert len(lightclient.fetch_chain(*replayed_node.address)) == 306
            assert not replayed_node.is_recording
        """
    )
    assert outcome(project.run("--record-mode=rewrite")) == {"passed": 1}
    assert (project.path / "captures" / "sync.pcap").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, 'record mode all: of which node? say upstream="HOST:PORT"'),
        ({"upstream": "127.0.0.1:1"}, 'which network? say network="lbry-regtest", or another'),
    ],
)
def test_what_recording_needs_is_asked_for(project, arguments, words):
    """Before anything is done."""
    project.tests(CHAIN)
    project.config(**arguments)
    result = project.run("--record-mode=all")
    assert outcome(result) == {"errors": 1}
    result.stdout.fnmatch_lines([f"lbcproxy: {words}"])
