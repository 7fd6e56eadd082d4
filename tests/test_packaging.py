"""What is shipped: a wheel that works from anywhere, with its captures and plugins inside."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from lbcproxy import __version__, resources
from lbcproxy.wireshark.plugin import MODULES
from tests.services import RUN, Service
from tests.tools import TIMEOUT
from tests.wheels import CLEAN, PIP, ROOT, copy_sources, require_compiler, run, tracked

pytestmark = pytest.mark.slow

CAPTURES = {
    "lbcd-sync.pcap",
    "lbcd-sync.truth.json",
    "lbcd-probe.pcap",
    "lbcd-probe.truth.json",
    "btcd-sync.pcapng",
    "btcd-changed.pcapng",
    "btcd-changed.truth.json",
    "btcd-light-client.pcapng",
}
COMPILERS = ("cc", "gcc", "clang")
SLOWER = "the native engine is not built: reading and writing messages is about fifty times slower"


def test_the_wheel_has_everything_that_travels_with_the_program(wheel):
    """Every module, the typing mark, the captures with what is true of them, the plugins."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in tracked(ROOT / "lbcproxy")}
    assert modules <= names
    assert "lbcproxy/py.typed" in names
    assert {f"lbcproxy/_captures/{name}" for name in (*CAPTURES, "README.md")} <= names
    assert "lbcproxy/_plugins/README.md" in names
    runtime = {f"lbcproxy/wireshark/runtime/{name}.lua" for name in MODULES}
    assert runtime <= names
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_has_nothing_else(wheel):
    """No tests, no recordings, no folder that would clash with another package's."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {
        "lbcproxy",
        f"lbcproxy-{__version__}.dist-info",
        "twisted",
    }
    # What `twistd` finds; anything else in there would be part of Twisted.
    assert [name for name in names if name.startswith("twisted/")] == [
        "twisted/plugins/lbcproxy_plugin.py"
    ]
    made = [name for name in names if name.endswith((".pcapng", ".pyc"))]
    assert {Path(name).name for name in made} == {
        each for each in CAPTURES if each.endswith(".pcapng")
    }


def test_the_wheel_has_the_native_engine(wheel):
    """Built for this Python and machine, with its source beside it; no C source."""
    require_compiler()
    with zipfile.ZipFile(wheel) as archive:
        native = [
            name for name in archive.namelist() if "_native" in name or name.endswith("_write.h")
        ]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert sorted(native) == sorted(
        f"lbcproxy/wire/{each}"
        for each in (f"_native{suffix}", "_native.pyi", "_native.pyx", "_write.h")
    )
    assert not wheel.name.endswith("-none-any.whl")


@pytest.fixture(scope="module")
def without_compiler(tmp_path_factory) -> dict[str, str]:
    """Install where there is no C compiler; return the variable that finds what was installed."""
    folder = tmp_path_factory.mktemp("without-compiler")
    source, target = copy_sources(folder), folder / "target"
    nowhere = str(Path(sys.executable).parent)
    assert [name for name in COMPILERS if shutil.which(name, path=nowhere)] == []
    bare = ("env", "-u", "CC", f"PATH={nowhere}")
    run(*bare, *PIP, "install", "--no-deps", "--target", target, source, folder=folder)
    assert (target / "lbcproxy" / "wire" / "_native.pyx").exists()
    assert not list(target.rglob("*.so"))
    return {"PYTHONPATH": str(target)}


def test_without_a_compiler_the_installation_works(without_compiler, tmp_path):
    """It runs on construct."""
    program, place = (sys.executable, "-m", "lbcproxy"), {"folder": tmp_path, **without_compiler}
    assert "engine:    construct\n" in run(*program, "--version", **place)
    nonce = run(*program, "decode", "--network", "lbry", "ping", "07" + "00" * 7, **place)
    assert nonce == '{\n  "nonce": 7\n}\n'


def test_without_the_native_engine_a_run_says_so_once(without_compiler, tmp_path):
    """What is slower, and how to get it; to all that ask for it and not with every message."""
    version = (sys.executable, "-m", "lbcproxy", "--version")
    said = run("sh", "-c", '"$@" 2>&1', "sh", *version, folder=tmp_path, **without_compiler)
    assert said.count(SLOWER) == 1
    proxy = {"network": "lbry-regtest", "listen": 0, "upstream": "127.0.0.1:1"}
    service = Service(tmp_path, {"proxies": [proxy]}, RUN, {**CLEAN, **without_compiler})
    try:
        assert service.end() == 0
        assert service.output.count(SLOWER) == 1
        assert service.output.count("install a C compiler") == 1
    finally:
        service.close()


def test_the_version_is_said_once(wheel):
    """`__version__` and the wheel's own agree."""
    assert wheel.name.startswith(f"lbcproxy-{__version__}-")


def test_an_installed_lbcproxy_works_from_an_empty_folder(installed, tmp_path):
    """The demo records below the folder it is run in, and `show` reads it."""
    program = installed / "lbcproxy"
    version = run(program, "--version", folder=tmp_path)
    assert version.splitlines()[0].split()[1] == __version__
    demo = run(program, "demo", folder=tmp_path)
    assert "byte for byte" in demo
    [path] = (tmp_path / "captures").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-demo\.pcapng", path.name)
    shown = run(program, "show", path, folder=tmp_path).splitlines()
    assert len(shown) == 400
    assert set(shown) <= set(demo.splitlines())
    nonce = run(program, "decode", "--network", "lbry", "ping", "07" + "00" * 7, folder=tmp_path)
    assert nonce == '{\n  "nonce": 7\n}\n'


@pytest.mark.parametrize("folder", ["captures", "plugins"])
def test_an_installed_lbcproxy_finds_its_folders(installed, tmp_path, folder):
    """Below the package, since there is no source tree."""
    code = f"from lbcproxy.resources import folder; print(folder({folder!r}))"
    found = Path(run(installed / "python", "-c", code, folder=tmp_path).strip())
    assert found.is_relative_to(installed.parent)
    assert (found / "README.md").read_bytes() == (ROOT / folder / "README.md").read_bytes()


@pytest.mark.parametrize("folder", ["captures", "plugins"])
def test_a_source_tree_has_its_folders_at_the_top(folder):
    """An installation in development uses the folders that people edit."""
    assert resources.folder(folder).resolve() == ROOT / folder


def test_a_folder_that_is_missing_is_an_error():
    """A broken installation says so."""
    with pytest.raises(FileNotFoundError, match="the folder nowhere that comes with lbcproxy"):
        resources.folder("nowhere")


def test_the_wheel_offers_what_encrypts(wheel):
    """As an extra: everything else works without it."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith("dist-info/METADATA")]
        lines = archive.read(name).decode().splitlines()
    assert "Provides-Extra: bip324" in lines
    needed = [
        line for line in lines if re.match(r"Requires-Dist: (coincurve|cryptography)\b", line)
    ]
    assert len(needed) == 2
    assert all('extra == "bip324"' in line for line in needed)


@pytest.mark.parametrize(
    "words",
    [
        "probe --network lbry-regtest --transport v2 127.0.0.1:1",
        "replay client --transport v2 CAPTURE 127.0.0.1:1",
        "replay server --transport v2 CAPTURE",
        "demo --transport v2",
        "run --network lbry-regtest --mode reverse:127.0.0.1:1@0 --transport v2",
        "run --network lbry-regtest --mode terminate:127.0.0.1:1@0 --upstream-transport v2",
        "run --network lbry-regtest --mode reverse:127.0.0.1:1@0 --key-log keys.log",
    ],
)
def test_without_the_extra_who_wants_to_encrypt_is_told(installed, tmp_path, words):
    """What to install, at once and without a traceback; nothing else has happened."""
    capture = str(ROOT / "captures" / "lbcd-sync.pcap")
    given = words.replace("CAPTURE", capture).split()
    done = subprocess.run(
        [installed / "lbcproxy", *given],
        cwd=tmp_path,
        env=CLEAN,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode in (1, 2)
    assert re.search(r"needs c\w+: install lbcproxy with its extra bip324", done.stderr)
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_rest_may_be_left_open(installed, tmp_path):
    """`auto` is no demand."""
    probe = [installed / "lbcproxy", "probe", "--network", "lbry-regtest", "127.0.0.1:1"]
    done = subprocess.run(
        [*probe, "--transport", "auto"],
        cwd=tmp_path,
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.stderr == "lbcproxy: 127.0.0.1:1: Connection refused\n"
