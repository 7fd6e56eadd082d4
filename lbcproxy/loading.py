"""Plugin files: found, loaded, checked before any session, loaded again when they change."""

from __future__ import annotations

import importlib.util
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from lbcproxy.errors import LbcproxyError
from lbcproxy.plugin import BadSetting, Plugin, make
from lbcproxy.resources import folder
from lbcproxy.session.hooks import BadHook, Chain, Hooks, Standing

__all__ = ["BadPlugin", "Loaded", "PluginSpec", "chain_of", "parse_spec", "renewed", "trimmed"]


class BadPlugin(LbcproxyError):
    """A plugin that cannot be used; the text says which file, where, and why."""

    exit_code = 2
    hint = "`lbcproxy.plugin` says what a plugin is; docs/plugins.md has examples"


class PluginSpec(msgspec.Struct, frozen=True):
    """Which plugin, with which settings."""

    file: str
    """A path, or the name of one that comes with lbcproxy."""
    settings: dict[str, Any] = {}


def parse_spec(text: str) -> PluginSpec:
    """Read `FILE [NAME=VALUE ...]`; raises BadPlugin."""
    file, *words = shlex.split(text) or [""]
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadPlugin(f"{text!r}: {word!r} is not NAME=VALUE")
        settings[name] = value
    return PluginSpec(file, settings)


class Loaded:
    """A plugin file in use. Raises BadPlugin when it is made of one that is none."""

    def __init__(self, spec: PluginSpec) -> None:
        self.spec = spec
        self.path = _path(spec.file)
        self.standing = Standing()
        self._stamp = self._stat()
        self._kinds = self._load()

    @property
    def name(self) -> str:
        """How it is called in lines and captures."""
        return self.path.stem

    def has_changed(self) -> bool:
        """Whether the file is another than the one that was loaded."""
        return self._stat() not in (None, self._stamp)

    def load_again(self) -> None:
        """Take the file as it is now; raises BadPlugin, and what was loaded stays."""
        self._stamp = self._stat()
        self._kinds = self._load()
        self.standing = Standing()

    def hooks(self) -> list[Hooks]:
        """Make its plugins for a session."""
        return [
            Hooks(self.name, make(kind, self.spec.settings), self.standing) for kind in self._kinds
        ]

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def _load(self) -> list[type[Plugin]]:
        module = _module(self.path)
        kinds = [each for each in vars(module).values() if _is_plugin(each, module)]
        if not kinds:
            raise BadPlugin(f"{self.path}: has no subclass of lbcproxy.plugin.Plugin")
        try:
            for kind in kinds:
                Hooks(self.name, make(kind, self.spec.settings))
        except (BadHook, BadSetting) as error:
            raise BadPlugin(f"{self.path}: {error}") from None
        except Exception as error:
            raise BadPlugin(f"{self.path}: cannot be made: {trimmed(error, self.path)}") from error
        return kinds


def chain_of(loaded: Sequence[Loaded]) -> Chain:
    """Make the plugins of a session."""
    return Chain([hooks for each in loaded for hooks in each.hooks()])


def renewed(chain: Chain, loaded: Sequence[Loaded]) -> Chain:
    """Make the plugins of a session anew, which remember what those before them did."""
    new = chain_of(loaded)
    before = {(each.name, type(each.plugin).__name__): each.plugin for each in chain.plugins}
    for each in new.plugins:
        old = before.get((each.name, type(each.plugin).__name__))
        if old is not None:
            vars(each.plugin).update(vars(old))
    return new


def trimmed(error: BaseException, path: Path | None = None) -> str:
    """Say what was raised, and at which line of the plugin."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if path is None or each.filename == str(path)]
    where = f" (line {own[-1].lineno})" if own else ""
    if isinstance(error, SyntaxError) and error.lineno:
        where = f" (line {error.lineno})"
    return f"{type(error).__name__}: {error}{where}"


def _path(file: str) -> Path:
    path = Path(file).expanduser()
    if path.is_file():
        return path.resolve()
    shipped = folder("plugins") / f"{file.removesuffix('.py').replace('-', '_')}.py"
    if path.name == file and shipped.is_file():
        return shipped
    there = ", ".join(sorted(each.stem for each in folder("plugins").glob("*.py")))
    raise BadPlugin(f"no plugin file {file!r}; there come with lbcproxy: {there or 'none'}")


def _module(path: Path) -> ModuleType:
    name = f"lbcproxy_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadPlugin(f"{path}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up there
    try:
        # Not through the loader: it would take the bytecode of the same second for current.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102
    except Exception as error:
        raise BadPlugin(f"{path}: {trimmed(error, path)}") from error
    return module


def _is_plugin(thing: object, module: ModuleType) -> bool:
    return (
        isinstance(thing, type)
        and issubclass(thing, Plugin)
        and thing is not Plugin
        and thing.__module__ == module.__name__
    )
