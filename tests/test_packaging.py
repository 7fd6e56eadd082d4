"""What is shipped: a wheel that works from anywhere, with its captures and plugins inside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from lbcproxy import __version__, resources
from tests.tools import absent

ROOT = Path(__file__).parent.parent
CAPTURES = {"lbcd-sync.pcap", "lbcd-sync.truth.json", "lbcd-probe.pcap", "lbcd-probe.truth.json"}
SOURCES = (
    "LICENSE",
    "README.md",
    "captures",
    "lbcproxy",
    "plugins",
    "pyproject.toml",
    "setup.py",
    "twisted",
)


def run(*command: object, folder: Path, **variables: str) -> str:
    """Run a program in a folder without our sources in its sight, and give what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= variables
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked(folder: Path) -> list[Path]:
    """Give the files of a folder that belong to the project, not to a run or a build."""
    ignored = {"__pycache__"}
    built = {".pcapng", ".so"}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not ignored & set(path.parts) and path.suffix not in built
    ]


def copy_sources(folder: Path) -> Path:
    """Copy what is built from, so that no earlier build is mixed in."""
    for name in SOURCES:
        source = ROOT / name
        for path in [source] if source.is_file() else tracked(source):
            target = folder / "source" / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder / "source"


PIP = (sys.executable, "-m", "pip", "--quiet")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_sources(folder)
    run(*PIP, "wheel", "--no-deps", "--wheel-dir", folder, source, folder=folder)
    [built] = folder.glob("*.whl")
    return built


def require_compiler() -> None:
    """End a test where extensions cannot be built."""
    compiler = os.environ.get("CC") or str(sysconfig.get_config_var("CC"))
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if shutil.which(compiler.split()[0]) is None or not header.exists():
        absent("no C compiler, or no headers of Python: install gcc and python3-dev")


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """Install the wheel, with what it depends on, in a clean environment; give its programs."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "venv", folder=folder)
    programs = folder / "venv" / "bin"
    run(programs / "python", "-m", "pip", "--quiet", "install", wheel, folder=folder)
    return programs


def test_the_wheel_has_everything_that_travels_with_the_program(wheel):
    """Every module, the typing mark, the captures with what is true of them, the plugins."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in tracked(ROOT / "lbcproxy")}
    assert modules <= names
    assert "lbcproxy/py.typed" in names
    assert {f"lbcproxy/_captures/{name}" for name in (*CAPTURES, "README.md")} <= names
    assert "lbcproxy/_plugins/README.md" in names
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
    assert not [name for name in names if name.endswith((".pcapng", ".pyc"))]


def test_the_wheel_has_the_native_engine(wheel):
    """Built for this Python and machine, with its source beside it; no C source."""
    require_compiler()
    with zipfile.ZipFile(wheel) as archive:
        native = [name for name in archive.namelist() if "_native" in name]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert sorted(native) == sorted(
        f"lbcproxy/wire/_native{each}" for each in (suffix, ".pyi", ".pyx")
    )
    assert not wheel.name.endswith("-none-any.whl")


def test_without_a_compiler_the_installation_succeeds(tmp_path):
    """It runs on construct, and says so."""
    source, target = copy_sources(tmp_path), tmp_path / "target"
    nowhere = str(Path(sys.executable).parent)
    environment = {"PATH": nowhere, "CC": "gcc"}
    assert shutil.which("gcc", path=nowhere) is None
    run(*PIP, "install", "--no-deps", "--target", target, source, folder=tmp_path, **environment)
    assert not list(target.rglob("*.so"))
    program = (sys.executable, "-m", "lbcproxy")
    place = {"folder": tmp_path, "PYTHONPATH": str(target)}
    assert "engine:    construct\n" in run(*program, "--version", **place)
    nonce = run(*program, "decode", "--network", "lbry", "ping", "07" + "00" * 7, **place)
    assert nonce == '{\n  "nonce": 7\n}\n'


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
