"""Loading a config: the result, and the message for each error."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.config import (
    Config,
    ConfigError,
    Duration,
    Size,
    control_address,
    describe,
    load,
    mode_of,
    read,
)
from lbcproxy.endpoint import Endpoint

ROOT = Path(__file__).parent.parent.parent
PROXY = {"network": "lbry-regtest", "listen": 9001, "upstream": "127.0.0.1:9246"}


def config(text, tmp_path):
    """Load a config of some text."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load(*read(path))


def test_the_reference_is_what_options_prints():
    """config.yaml at the top lists every setting; `lbcproxy options > config.yaml` makes it."""
    assert (ROOT / "config.yaml").read_text() == describe()


def test_the_reference_is_a_config_of_defaults():
    """It can be used as it is, and changes nothing."""
    made = load(yaml.safe_load(describe()))
    same = {"network": "lbry-mainnet", "listen": "127.0.0.1:9245", "upstream": "127.0.0.1:9246"}
    assert made == load({"proxies": [same]})


@pytest.mark.slow
@pytest.mark.parametrize("name", Config.__struct_fields__)
def test_every_setting_has_its_help(name):
    """And its type; those that only a proxy has come below `proxies`."""
    lines = describe().splitlines()
    [place] = [number for number, line in enumerate(lines) if line.startswith(f"{name}:")]
    above = "\n".join(lines[max(0, place - 8) : place])
    assert lines[place - 1].startswith("#")
    assert name == "proxies" or "Type" in above


def test_a_proxy_inherits_the_settings_at_the_top(tmp_path):
    """Unless it says otherwise."""
    made = config(
        """
        network: lbry-regtest
        idle_timeout: 5 m
        proxies:
          - {listen: 9001, upstream: "127.0.0.1:9246"}
          - {listen: "0.0.0.0:9002", upstream: "node.example:1", network: bitcoin-regtest,
             name: second, idle_timeout: null, mode: terminate}
        """,
        tmp_path,
    )
    first, second = made.proxies
    assert (first.name, first.network, first.idle_timeout) == (
        "lbry-regtest-9001",
        "lbry-regtest",
        300.0,
    )
    assert (second.name, second.network, second.idle_timeout) == ("second", "bitcoin-regtest", None)
    assert mode_of(first).listen == Endpoint("127.0.0.1", 9001)
    assert mode_of(second).listen == Endpoint("0.0.0.0", 9002)
    assert mode_of(second).kind == "terminate"


def test_upstreams_may_be_a_list(tmp_path):
    """Or a text as in a mode."""
    text = """
        network: lbry-regtest
        proxies:
          - {listen: 1, upstream: [one.example:9246, "[::1]:9246"]}
          - {listen: 2, upstream: "one.example:9246,[::1]:9246"}
        """
    first, second = map(mode_of, config(text, tmp_path).proxies)
    assert first.upstreams == second.upstreams == (("one.example", 9246), ("::1", 9246))


@pytest.mark.parametrize("mode", ["socks5", "transparent"])
def test_modes_in_which_clients_choose_have_no_upstream(mode, tmp_path):
    """Left out, or null."""
    for upstream in ("", ", upstream: null"):
        text = f"proxies: [{{network: lbry-regtest, listen: 1080, mode: {mode}{upstream}}}]"
        [proxy] = config(text, tmp_path).proxies
        assert mode_of(proxy).upstreams == ()
        assert proxy.name == "lbry-regtest-1080"


def test_proxies_without_a_name_get_one_each():
    """Two that pick a port are two."""
    made = load({"proxies": [{**PROXY, "listen": 0}, {**PROXY, "listen": 0}]})
    assert [each.name for each in made.proxies] == ["lbry-regtest-0", "lbry-regtest-0-2"]


def test_each_listener_has_a_file_of_its_own_name():
    """Two of one network do not collide."""
    made = load({"record_per": "listener", **both({}, {"listen": 2})})
    assert all("{name}" in each.record for each in made.proxies)


def test_a_session_of_its_own_file_has_a_name_with_its_number():
    """Otherwise all of them would collide."""
    [made] = load({"proxies": [{**PROXY, "record_per": "session"}]}).proxies
    assert "{session}" in made.record


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("1.5", 1.5), ("90 s", 90), ("5m", 300), ("1 h", 3600), ("2 d", 172_800)],
)
def test_times_have_units(text, seconds, tmp_path):
    """A number is seconds."""
    made = config(f"rotate_every: {text}\nproxies: [{PROXY}]", tmp_path)
    assert made.rotate_every == Duration(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("64 kB", 64_000),
        ("64 KiB", 65_536),
        ("1.5 MB", 1_500_000),
        ("2GiB", 2 << 30),
        ("1 TB", 10**12),
    ],
)
def test_sizes_have_units(text, size, tmp_path):
    """A number is bytes."""
    assert config(f"rotate_size: {text}\nproxies: [{PROXY}]", tmp_path).rotate_size == Size(size)


ONE = "proxies: [{network: lbry-regtest, listen: 9001, upstream: 'h:1'%s}]\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("proxies: []", "line 1: proxies: a list of at least one proxy is expected"),
        ("{}", "proxies: a list of at least one proxy is expected"),
        ("proxies: [9246]", "line 1: proxies[0]: a proxy is expected"),
        ("proxies:\n- listen: 1\n", "line 2: proxies[0]: `upstream` is missing"),
        ("\nnetwrk: x\n" + ONE % "", "line 2: netwrk: unknown setting, did you mean network?"),
        (ONE % ", lisen: 1", "proxies[0].lisen: unknown setting, did you mean listen?"),
        (ONE % ", memory: 1", "proxies[0].memory: unknown setting"),
        (ONE % ", network: lbry", "line 1: proxies[0].network: "),
        ("proxies: [{listen: 1, upstream: 'h:1'}]", "choose a network"),
        (
            ONE % ", mode: forward",
            "proxies[0].mode: 'forward' is not among reverse, socks5, terminate",
        ),
        (ONE % ", enabled: maybe", "allowed: true or false"),
        (ONE % ", name: 'a b'", "proxies[0].name: 'a b' has other characters"),
        (ONE.replace("9001", "70000") % "", "proxies[0].listen: 70000 is not a TCP port"),
        (ONE.replace("9001", "here") % "", "proxies[0].listen: 'here' is not HOST:PORT"),
        (ONE.replace("9001", "true") % "", "allowed: text or number"),
        (ONE.replace("h:1", "h") % "", "proxies[0].upstream: 'h' is not HOST:PORT"),
        (ONE.replace("h:1", "h:0") % "", "proxies[0].upstream: 0 is not a TCP port"),
        (ONE.replace("h:1", "127.0.0.1:9001") % "", "it leads back to itself: 127.0.0.1:9001 -> "),
        (ONE.replace("h:1", "localhost:9001") % "", "it leads back to itself"),
        (ONE.replace("'h:1'", "[]") % "", "proxies[0]: `upstream` is missing"),
        (ONE.replace("'h:1'", "['h:1', h]") % "", "proxies[0].upstream: 'h' is not HOST:PORT"),
        (ONE.replace("'h:1'", "[1]") % "", "proxies[0].upstream[0]: Expected `str`, got `int`"),
        (ONE.replace("'h:1'", "1") % "", "allowed: text or list of texts or null"),
        (ONE.replace("h:1", "h:1,h:1") % "", "proxies[0].upstream: h:1 is listed twice"),
        (ONE.replace("'h:1'", "['h:1', '127.0.0.1:9001']") % "", "it leads back to itself"),
        (ONE % ", mode: socks5", "upstream: in mode socks5 each client chooses"),
        (ONE.replace("upstream: 'h:1'", "mode: terminate") % "", "`upstream` is missing"),
        ("rotate_size: 5 apples\n" + ONE % "", "line 1: rotate_size: Expected a size such as 4096"),
        ("rotate_size: -5\n" + ONE % "", "rotate_size: Expected a size"),
        ("rotate_size: yes\n" + ONE % "", "rotate_size: Expected a size"),
        ("rotate_every: 5 y\n" + ONE % "", "rotate_every: Expected a time such as 30, 90 s"),
        ("dial_timeout: 0\n" + ONE % "", "line 1: dial_timeout: a time above 0"),
        ("idle_timeout: 0\n" + ONE % "", "line 1: idle_timeout: a time above 0"),
        ("max_sessions: 0\n" + ONE % "", "max_sessions: Expected `int` >= 1; allowed: number from"),
        ("max_sessions: many\n" + ONE % "", "line 1: max_sessions: Expected `int`, got `str`; "),
        ("record_per: hour\n" + ONE % "", "allowed: run, listener or session"),
        ("record: '{nme}'\n" + ONE % "", "line 1: record: '{nme}' cannot be filled in"),
        ("record: x\nrecord_per: session\n" + ONE % "", "'x' lacks {session}"),
        ("record: '-'\nrotate_size: 5 MB\n" + ONE % "", "standard output cannot be rotated"),
        ("record: [x]\n" + ONE % "", "record: Expected `str | null`, got `array`; allowed: text"),
        ("log_level: loud\n" + ONE % "", "line 1: log_level: Invalid enum value 'loud'; allowed: "),
        ("memory: 5\n" + ONE % "", "line 1: memory: at least 1 MiB is expected"),
        ("record_queue: 5\n" + ONE % "", "record_queue: at least 1 MiB is expected"),
        ("height: 5\n" + ONE % "", "height: it has no effect without a proxy of mode terminate"),
        (f"user_agent: {'x' * 257}\n" + ONE % ", mode: terminate", "257 bytes, at most 256"),
        (ONE % ", mode: terminate, services: 36893488147419103232", "at most 64 bits"),
        ("network: x\nnetwork: y\n" + ONE % "", "line 2: network: the setting appears twice"),
        (ONE % ", name: a, name: b", "proxies[0].name: the setting appears twice"),
        ("proxies: [", "line 1: not valid YAML: "),
        ("a: b: c", "line 1: not valid YAML: "),
        ("log_file: 2026-02-31\n" + ONE % "", "not valid YAML: day is out of range"),
        (f"rotate_size: {'9' * 400}\n" + ONE % "", "rotate_size: Expected a size"),
        (f"idle_timeout: {'9' * 400}\n" + ONE % "", "idle_timeout: Expected a time"),
        ("rotate_size: 500\n" + ONE % "", "line 1: rotate_size: at least 4 KiB are expected"),
        ("record: '{session}'\n" + ONE % "", "'{session}' has {session}, but record_per is run"),
        (
            "record: '{session:x}-{session!z}'\nrecord_per: session\n" + ONE % "",
            "cannot be filled in",
        ),
        (
            "record_keep_size: 1 MB\nrotate_size: 2 MB\n" + ONE % "",
            "line 1: record_keep_size: a single",
        ),
        ("record_keep_age: old\n" + ONE % "", "line 1: record_keep_age: Expected a time"),
        (
            "record_compress: rar\n" + ONE % "",
            "record_compress: Invalid enum value 'rar'; allowed: ",
        ),
        ("record_on_demand: 5\n" + ONE % "", "allowed: true or false"),
        ("ring: -1\n" + ONE % "", "line 1: ring: Expected `int` >= 0"),
        ("ring: 5\nring_size: 100\n" + ONE % "", "line 2: ring_size: at least 4 KiB"),
        ("ring_on: [ban]\n" + ONE % "", "line 1: ring_on: 'ban' is not among reset, refused"),
        ("ring_file: '{nme}'\n" + ONE % "", "line 1: ring_file: '{nme}' cannot be filled in"),
        (
            "ring_file: '-'\n" + ONE % "",
            "line 1: ring_file: each ring is written to a file of its own",
        ),
        ("- a", "settings are expected, as `name: value`"),
        ("", "settings are expected"),
        ("\t", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
        ("5: 6\n" + ONE % "", "5: unknown setting"),
    ],
)
def test_an_error_names_the_setting_and_its_line(text, words, tmp_path):
    """Which file, which line, which setting, and what would be right."""
    with pytest.raises(ConfigError) as raised:
        config(text, tmp_path)
    assert words in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "config.yaml"))
    assert raised.value.exit_code == 2


def test_a_package_that_is_missing_is_named(monkeypatch):
    """Where the setting is read, not when the first file is full."""
    made = load({"record_compress": "zst", **both({}, {"listen": 2})})
    assert made.proxies[0].record_compress == "zst"
    monkeypatch.setattr("lbcproxy.capture.compression.find_spec", lambda name: None)
    load({"record_compress": "gz", **both({}, {"listen": 2})})
    with pytest.raises(ConfigError, match=r"record_compress: .*pip install 'lbcproxy\[zstd\]'"):
        load({"record_compress": "zst", **both({}, {"listen": 2})})


def test_proxies_with_and_without_record_on_demand_may_share_a_file():
    """It is the proxy's own affair; what becomes of files is not."""
    load({"record": "x", **both({"record_on_demand": True}, {"listen": 2})})
    with pytest.raises(ConfigError, match="records to the same file, with other settings"):
        load({"record": "x", **both({"record_keep_age": 5}, {"listen": 2})})


def both(first, second):
    """Return a config of two proxies."""
    return {"proxies": [{**PROXY, **first}, {**PROXY, **second}]}


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({}, {}, "proxies[1].listen: another proxy already listens at 127.0.0.1:9001"),
        ({}, {"listen": "0.0.0.0:9001"}, "another proxy already listens at 127.0.0.1:9001"),
        ({"name": "a"}, {"name": "a", "listen": 2}, "'a' is already the name of proxies[0]"),
        ({}, {"listen": 2, "rotate_every": 5}, "proxies[0] records to the same file"),
        (
            {"record": "x"},
            {"listen": 2, "record": "x", "network": "bitcoin-regtest"},
            "proxies[1].record: proxies[0] records to the same file",
        ),
        (
            {"upstream": "127.0.0.1:9002"},
            {"listen": 9002, "upstream": "localhost:9001"},
            "127.0.0.1:9001 -> 127.0.0.1:9002 -> 127.0.0.1:9001",
        ),
    ],
)
def test_proxies_that_conflict_are_refused(first, second, words):
    """They would not start, or form a loop."""
    with pytest.raises(ConfigError) as raised:
        load(both(first, second))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "second",
    [
        {"enabled": False},
        {"listen": 9002, "upstream": "127.0.0.1:9001"},
        {"listen": "127.0.0.2:9001"},
        {"listen": "[::1]:9001"},
        {"listen": 9002, "mode": "terminate"},
        {"listen": 9002, "record": "{name}", "rotate_every": 5},
    ],
)
def test_proxies_that_only_seem_to_conflict_are_not(second):
    """One may connect to another, or be disabled."""
    assert len(load(both({}, second)).proxies) == 2


def test_the_search_for_loops_visits_each_upstream_once():
    """Each connects to all after it: there are too many paths to follow each."""
    proxies = [
        {**PROXY, "listen": port, "upstream": [f"127.0.0.1:{to}" for to in range(port + 1, 9100)]}
        for port in range(9000, 9099)
    ]
    assert len(load({"proxies": proxies}).proxies) == 99


def test_a_file_that_is_not_there_is_named(tmp_path):
    """With what the system says."""
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        read(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xe9\xff")
    with pytest.raises(ConfigError, match=r"latin\.yaml: 'utf-8' codec"):
        read(tmp_path / "latin.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(Config.__struct_fields__) | st.text(max_size=10)


@pytest.mark.slow
@given(top=st.dictionaries(NAMES, VALUES, max_size=4), own=st.dictionaries(NAMES, VALUES))
def test_any_content_is_loaded_or_refused(top, own):
    """No other exception is raised."""
    for values in (top, {**top, "proxies": [{**PROXY, **own}]}):
        try:
            load(values)
        except ConfigError as error:
            assert str(error)


FAULTY = """\
network: lbry-regtest
proxies:
  - listen: 9001
    upstream: "127.0.0.1:9246"
    faults:
      - type: latency
        attributes:
          latency: 100
      - {type: slicer, stream: upstream, attributes: {average_size: 10}, toxicity: 0.5}
"""


def test_faults_are_read_with_their_attributes(tmp_path):
    """In their order, with defaults."""
    first, second = config(FAULTY, tmp_path).proxies[0].faults
    assert first.name == "latency_downstream"
    assert (first.attributes.latency, first.attributes.jitter) == (100, 0)
    assert (second.name, second.toxicity) == ("slicer_upstream", 0.5)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("type: latency", "type: latancy", "line 6: proxies[0].faults[0].type: 'latancy' is no"),
        (
            "latency: 100",
            "latncy: 1",
            "line 8: proxies[0].faults[0].attributes.latncy: latency",
        ),
        ("latency: 100", "latency: x", "line 8: proxies[0].faults[0].attributes.latency: Expected"),
        ("average_size: 10", "delay: 1", "line 9: proxies[0].faults[1].attributes: Object missing"),
        ("toxicity: 0.5", "toxicity: 5", "line 9: proxies[0].faults[1].toxicity: Expected `float`"),
        ("toxicity: 0.5", "toxcity: 1", "line 9: proxies[0].faults[1]: Object contains unknown fi"),
        ("upstream, attr", "sideways, attr", "line 9: proxies[0].faults[1].stream: Invalid enum"),
        (
            "toxicity: 0.5",
            "name: latency_downstream",
            "line 9: proxies[0].faults[1]: another fa",
        ),
        (
            "    faults",
            "    mode: terminate\n    faults",
            "proxies[0].faults: mode termi",
        ),
        (
            "network:",
            "control: here\nnetwork:",
            "line 1: control: 'here' is not PORT, HOST:PORT",
        ),
        ("network:", "control: 99999\nnetwork:", "line 1: control: '99999' is not PORT, HOST:PORT"),
        ("network:", "seed: -1\nnetwork:", "line 1: seed: Expected `int` >= 0"),
    ],
)
def test_an_error_in_a_fault_names_its_line(before, after, words, tmp_path):
    """As any other."""
    assert before in FAULTY
    with pytest.raises(ConfigError) as caught:
        config(FAULTY.replace(before, after, 1), tmp_path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (8474, Endpoint("127.0.0.1", 8474)),
        ("8474", Endpoint("127.0.0.1", 8474)),
        (":8474", Endpoint("127.0.0.1", 8474)),
        ("10.0.0.1:8474", Endpoint("10.0.0.1", 8474)),
        ("[::1]:8474", Endpoint("::1", 8474)),
        ("./control.sock", "./control.sock"),
        (None, None),
    ],
)
def test_the_control_api_listens_on_loopback_by_default(given, address):
    """An address of others has to be written."""
    assert control_address(given) == address


def test_without_proxies_there_must_be_a_control_api():
    """It makes them; without it there would be nothing to do."""
    assert load({"control": 0, "proxies": []}).proxies == ()
    with pytest.raises(ConfigError, match="a list of at least one proxy is expected"):
        load({"proxies": []})


def test_a_magic_of_its_own_makes_a_network_of_its_own():
    """Under an id that captures name and that every command understands."""
    top = {"network": "bitcoin-regtest", "magic": "01020304"}
    listeners = [
        {"listen": 9001, "upstream": "127.0.0.1:1"},
        {"listen": 9002, "upstream": "127.0.0.1:2", "network": "lbry-regtest"},
        {"listen": 9003, "upstream": "127.0.0.1:3", "signet_challenge": "51", "magic": None},
    ]
    with pytest.raises(ConfigError, match="only bitcoin-signet has"):
        load({**top, "proxies": listeners})
    made = load({**top, "proxies": listeners[:2]})
    assert [each.network for each in made.proxies] == ["bitcoin-regtest@01020304", "lbry-regtest"]
    listeners[2]["network"] = "bitcoin-signet"
    made = load({**top, "proxies": listeners})
    assert made.proxies[2].network == "bitcoin-signet@54d26fbd"


def test_a_challenge_alone_chooses_a_signet():
    """No other network has a challenge."""
    made = load({"signet_challenge": "51", "proxies": [{"listen": 1, "upstream": "127.0.0.1:2"}]})
    assert made.proxies[0].network == "bitcoin-signet@54d26fbd"


@pytest.mark.parametrize("wrong", [{"magic": "0102"}, {"signet_challenge": "5x"}])
def test_an_invalid_magic_names_its_line(wrong):
    """Not as a mistake in the network."""
    [setting] = wrong
    top = {"network": "bitcoin-signet", **wrong}
    with pytest.raises(ConfigError, match=setting):
        load({**top, "proxies": [{"listen": 1, "upstream": "127.0.0.1:2"}]})
    load({**top, "proxies": [PROXY]})  # it does not belong to that one's network


def test_a_socks_proxy_does_not_connect_through_itself():
    """Each client would be one more, without end; through another one of ours is fine."""
    one = {"network": "lbry-regtest", "mode": "socks5", "listen": 9001}
    other = {"network": "lbry-regtest", "mode": "socks5", "listen": 9002}
    back = {**other, "socks_upstream": "127.0.0.1:9001"}
    for through, beside in (("127.0.0.1:9001", other), ("127.0.0.1:9002", back)):
        with pytest.raises(ConfigError, match="leads back to itself"):
            load({"proxies": [{**one, "socks_upstream": through}, beside]})
    load({"proxies": [{**one, "socks_upstream": "127.0.0.1:9002"}, other]})


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"socks_upstream": "127.0.0.1"}, "is not HOST:PORT"),
        ({"socks_upstream": "127.0.0.1:0"}, "port 0"),
        ({"socks_allow": ["10.0.0.1/8"]}, "is not a network"),
        ({"socks_deny": ["a b"]}, "is not a network"),
    ],
)
def test_invalid_socks_rules_are_reported(setting, words):
    """A rule that means nothing would deny nothing."""
    proxy = {"network": "lbry-regtest", "mode": "socks5", "listen": 9001}
    with pytest.raises(ConfigError, match=words):
        load({"proxies": [{**proxy, **setting}]})


def test_socks_rules_without_a_socks_proxy_are_an_error():
    """Nothing would come of them."""
    with pytest.raises(ConfigError, match="no effect without a proxy of mode socks5"):
        load({"socks_deny": ["private"], "proxies": [PROXY]})
