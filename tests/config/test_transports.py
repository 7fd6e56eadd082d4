"""The settings of transports: which of them fit together, and what they need."""

from __future__ import annotations

from typing import Any

import pytest

from lbcproxy.config import ConfigError, load
from lbcproxy.transport import curve
from lbcproxy.transport.curve import MissingLibrary


def config(top: dict[str, Any], **proxy: Any) -> Any:
    """Make a config with one proxy."""
    listening = {"listen": 9246, "upstream": "127.0.0.1:9245", **proxy}
    return load({"network": "lbry-regtest", **top, "proxies": [listening]})


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have coincurve missing."""

    def missing() -> None:
        raise MissingLibrary("coincurve")

    monkeypatch.setattr(curve, "_library", missing)


@pytest.mark.parametrize("other", ["auto", "opaque"])
@pytest.mark.parametrize("opaque", ["client_transport", "upstream_transport"])
def test_opaque_is_for_both(opaque: str, other: str):
    """Wherever it stands."""
    names = ("client_transport", "upstream_transport")
    [proxy] = config({}, **{**dict.fromkeys(names, other), opaque: "opaque"}).proxies
    assert [getattr(proxy, name) for name in names] == ["opaque", "opaque"]


@pytest.mark.parametrize(
    ("proxy", "what"),
    [
        (
            {"client_transport": "opaque", "upstream_transport": "v1"},
            "client_transport: opaque is for both connections, but upstream_transport is v1",
        ),
        (
            {"client_transport": "v2", "upstream_transport": "opaque"},
            "upstream_transport: opaque is for both connections, but client_transport is v2",
        ),
        (
            {"client_transport": "opaque", "mode": "terminate"},
            "client_transport: mode terminate has to read what passes, so it cannot be opaque",
        ),
    ],
)
def test_what_does_not_fit_together(proxy: dict[str, Any], what: str):
    """Is said with the setting."""
    pytest.importorskip("coincurve")
    with pytest.raises(ConfigError) as raised:
        config({}, **proxy)
    assert str(raised.value) == f"proxies[0].{what}"


@pytest.mark.parametrize("setting", ["client_transport", "upstream_transport"])
@pytest.mark.usefixtures("no_library")
def test_v2_needs_a_library(setting: str):
    """And says what to install."""
    with pytest.raises(ConfigError) as raised:
        config({}, **{setting: "v2"})
    assert str(raised.value) == (
        f"proxies[0].{setting}: the encrypted transport (BIP324) needs coincurve: install lbcproxy "
        "with its extra bip324"
    )


@pytest.mark.usefixtures("no_library")
def test_a_key_log_needs_a_library():
    """There would be nothing in it."""
    with pytest.raises(ConfigError, match=r"^key_log: .* install lbcproxy with its extra bip324$"):
        config({"key_log": "keys.log"})


@pytest.mark.usefixtures("no_library")
def test_nothing_else_needs_a_library():
    """Nobody may ever encrypt."""
    for transport in ("auto", "v1", "opaque"):
        config({}, client_transport=transport, upstream_transport=transport)


def test_keys_are_not_logged_to_the_log():
    """Others may read that."""
    pytest.importorskip("coincurve")
    with pytest.raises(ConfigError, match=r"^key_log: log_file is the same file, "):
        config({"key_log": "lbcproxy.log", "log_file": "lbcproxy.log"})
