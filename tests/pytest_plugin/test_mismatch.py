"""What a test reports when its code requests what was not recorded."""

from __future__ import annotations

from tests.pytest_plugin.projects import outcome

ASK = """
@pytest.mark.capture("captures/sync.pcap"{more})
def test_ask(replayed_node):
    with pytest.raises(ConnectionError):
        lightclient.fetch_block(*replayed_node.address, bytes(31) + b"\\1")
    assert len(replayed_node.unknown) == 1
    assert replayed_node.unknown[0].command == "getdata"
"""
NEAR = """
@pytest.mark.capture("captures/sync.pcap")
def test_near(replayed_node):
    async def main():
        async with await lightclient.LightClient.connect(*replayed_node.address) as client:
            await client.headers(bytes([1]) * 32)
    asyncio.run(main())
"""


def test_a_question_without_an_answer_fails_the_test(project):
    """Even if its code takes it well; and says which, what is near, what differs, what helps."""
    project.tests(ASK.format(more=""))
    result = project.run()
    assert outcome(result) == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "no recorded answer: getdata block 0100*",
            "capture: captures/sync.pcap (record mode none)",
            "nearest recorded getdata (of 8):",
            "  1. message 312  *",
            "     inventory?0?  recorded   witness block *",
            "                   requested  block 0100*",
            "  2. message *",
            "to record it, say where the real node is (upstream=*",
            "FAILED test_it.py::test_ask - Failed: no recorded answer: getdata block 01*",
        ]
    )


def test_a_test_that_fails_by_itself_gets_the_reason(project):
    """Its own error alone, a connection that was closed, would tell nobody anything."""
    project.tests(NEAR)
    result = project.run()
    assert outcome(result) == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "E  * ConnectionError: the node has closed the connection",
            "*-- lbcproxy --*",
            "no recorded answer: getheaders locator 0101*",
            "no getheaders was recorded, only: getblocks 3, getaddr 1, getdata 8, ping 1",
            "FAILED test_it.py::test_near - no recorded answer: getheaders locator 0101*",
        ]
    )


def test_the_failure_names_the_mode_that_would_record_it(project, upstream):
    """With a real node at hand it is one option."""
    project.tests(ASK.format(more="").replace("replayed_node", "recorded_node"))
    project.config(network="lbry-regtest", upstream=upstream.address)
    result = project.run()
    result.stdout.fnmatch_lines(
        [f"to record it from {upstream.address}: --record-mode=new_episodes"]
    )


def test_a_node_that_cannot_be_asked_is_named(project):
    """In `new_episodes` the mode is right; what is missing is the node."""
    project.tests(
        ASK.format(more="").replace("replayed_node", "recorded_node").replace("pcap", "pcapng")
    )
    (project.path / "captures" / "sync.pcap").rename(project.path / "captures" / "sync.pcapng")
    project.config(network="lbry-regtest", upstream="127.0.0.1:1")
    result = project.run("--record-mode=new_episodes")
    assert outcome(result) == {"failed": 1}
    result.stdout.fnmatch_lines(
        ["no recorded answer: getdata *", "the node at 127.0.0.1:1 has not answered either"]
    )


def test_other_answers_are_allowed_where_they_are_wanted(project):
    """How a client takes `notfound` is a test as well."""
    project.tests(
        """
        @pytest.mark.capture("captures/sync.pcap", unknown="notfound")
        def test_ask(replayed_node):
            with pytest.raises(lightclient.Missing):
                lightclient.fetch_block(*replayed_node.address, bytes(32))
            assert len(replayed_node.unknown) == 1

        @pytest.mark.capture("captures/sync.pcap", unknown="silence")
        def test_silence(replayed_node, monkeypatch):
            monkeypatch.setattr(lightclient, "TIMEOUT", 0.1)
            with pytest.raises(TimeoutError):
                lightclient.fetch_block(*replayed_node.address, bytes(32))
        """
    )
    assert outcome(project.run()) == {"passed": 2}


def test_strict_wants_all_of_it(project):
    """A recording half of which is never requested is stale."""
    project.tests(
        """
        @pytest.mark.capture("captures/sync.pcap", strict=True)
        def test_strict(replayed_node):
            lightclient.fetch_chain(*replayed_node.address)

        @pytest.mark.capture("captures/sync.pcap")
        def test_counts(replayed_node):
            chain = lightclient.fetch_chain(*replayed_node.address)
            assert replayed_node.play_count == 0
            lightclient.fetch_block(*replayed_node.address, chain[0].hash)
            assert replayed_node.play_count == 1
            assert not replayed_node.all_played
        """
    )
    result = project.run()
    assert outcome(result) == {"failed": 1, "passed": 1}
    result.stdout.fnmatch_lines(
        [
            "* recorded messages were not sent (strict)",
            "capture: captures/sync.pcap (record mode none)",
            "  message * block *",
            "  and * more",
        ]
    )


def test_strict_is_content_with_all_that_was_recorded(project, upstream):
    """It can be met."""
    project.tests(
        """
        @pytest.mark.capture(strict=True)
        def test_strict(recorded_node):
            lightclient.fetch_chain(*recorded_node.address)
            assert recorded_node.all_played
        """
    )
    project.config(network="lbry-regtest", upstream=upstream.address)
    assert outcome(project.run("--record-mode=once")) == {"passed": 1}
    assert outcome(project.run()) == {"passed": 1}
