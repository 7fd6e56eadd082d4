"""Plugin files: found, loaded, checked before any session, loaded again when they change."""

from __future__ import annotations

import hashlib
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
from lbcproxy.interrupt import is_ctrl_c, words_of
from lbcproxy.plugins.api import BadSetting, Plugin, make
from lbcproxy.plugins.hooks import BadHook, Chain, Hooks, Standing
from lbcproxy.plugins.session_view import LiveSession
from lbcproxy.resources import folder
from lbcproxy.session import Message

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
        self._kinds = self._load()
        self._stamp = self._stat()

    @property
    def name(self) -> str:
        """How it is called in lines and captures."""
        return self.path.stem

    def has_changed(self) -> bool:
        """Whether the file is another than the one that was loaded."""
        stamp = self._stat()
        return stamp[0] is not None and stamp != self._stamp

    def load_again(self) -> None:
        """Take the file as it is now; raises BadPlugin, and what was loaded stays."""
        before = self._stat()
        try:
            self._kinds = self._load()
        finally:
            # The file as it was when it was read, and the helpers that it has now.
            self._stamp = (before[0], *self._stat()[1:])
        self.standing = Standing()

    def hooks(self) -> list[Hooks]:
        """Make its plugins for a session."""
        return [self._hooks(kind) for kind in self._kinds]

    def _hooks(self, kind: type[Plugin]) -> Hooks:
        """Make one plugin; if it cannot be made for this session, one that says so when asked."""
        try:
            hooks = Hooks(self.name, make(kind, self.spec.settings), self.standing)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            hooks = Hooks(self.name, _Unmade(error), self.standing)
        hooks.origin = (self.path, kind.__name__)
        hooks.settings = self.spec.settings
        return hooks

    def _stat(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(map(_stamp, (self.path, *_helpers(self.path))))

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
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            raise BadPlugin(f"{self.path}: cannot be made: {trimmed(error, self.path)}") from error
        return kinds


def chain_of(loaded: Sequence[Loaded]) -> Chain:
    """Make the plugins of a session."""
    return Chain([hooks for each in loaded for hooks in each.hooks()])


class _Unmade(Plugin):
    """Stands for a plugin that could not be made for a session: each of its hooks fails as it did.

    So the failure is told by the plugin's name, and nothing passes if nothing may pass without it.
    """

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def on_start(self, session: LiveSession) -> None:
        """Fail."""
        raise self._error

    def on_message(self, session: LiveSession, message: Message) -> None:
        """Fail."""
        raise self._error


def renewed(chain: Chain, loaded: Sequence[Loaded]) -> Chain:
    """Make the plugins of a session anew, which remember what those before them did.

    A plugin is the same if it is of the same file and class. Settings that have changed count.
    """
    new = chain_of(loaded)
    before = list(chain.plugins)
    for each in new.plugins:
        same = [old for old in before if old.origin is not None and old.origin == each.origin]
        if not same:
            continue
        old = next((old for old in same if old.settings == each.settings), same[0])
        before.remove(old)
        if isinstance(old.plugin, _Unmade) or isinstance(each.plugin, _Unmade):
            continue
        changed = {name for name, value in each.settings.items() if old.settings.get(name) != value}
        kept = {name: value for name, value in vars(old.plugin).items() if name not in changed}
        vars(each.plugin).update(kept)
    return new


def trimmed(error: BaseException, path: Path | None = None) -> str:
    """Say what was raised, and at which line of the plugin."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if path is None or each.filename == str(path)]
    where = f" (line {own[-1].lineno})" if own else ""
    if isinstance(error, SyntaxError) and error.lineno:
        where = f" (line {error.lineno})"
    return f"{type(error).__name__}: {words_of(error)}{where}"


def _path(file: str) -> Path:
    path = Path(file).expanduser()
    if path.is_file():
        return path.resolve()
    shipped = folder("plugins") / f"{file.removesuffix('.py').replace('-', '_')}.py"
    if path.name == file and shipped.is_file():
        return shipped
    there = ", ".join(sorted(each.stem for each in folder("plugins").glob("*.py")))
    raise BadPlugin(f"no plugin file {file!r}; there come with lbcproxy: {there or 'none'}")


def _module_name(path: Path) -> str:
    """Return a name that no other file's module has: annotations are looked up by it."""
    return f"lbcproxy_plugin_{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:16]}"


def _helpers(path: Path) -> list[Path]:
    """Return the files beside a plugin that it has imported: `from . import helper`."""
    prefix = f"{_module_name(path)}."
    found = {name: module for name, module in sys.modules.items() if name.startswith(prefix)}
    files = (getattr(found[name], "__file__", None) for name in sorted(found))
    return [Path(file) for file in files if file is not None]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _module(path: Path) -> ModuleType:
    name = _module_name(path)
    # It is a package of the files beside it, so that its helpers are its own too.
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)]
    )
    if spec is None or spec.loader is None:
        raise BadPlugin(f"{path}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    before = {each: sys.modules.pop(each) for each in _modules(name)}
    importlib.invalidate_caches()  # a helper may be new
    sys.modules[name] = module  # annotations are looked up there
    try:
        # Not through the loader: it would take the bytecode of the same second for current.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102
    except BaseException as error:
        for each in _modules(name):
            del sys.modules[each]
        sys.modules.update(before)  # what was loaded stays
        if is_ctrl_c(error):
            raise
        raise BadPlugin(f"{path}: {trimmed(error, path)}") from error
    return module


def _modules(name: str) -> list[str]:
    """Return the names in use of a plugin's module and of its helpers."""
    return [each for each in sys.modules if each == name or each.startswith(f"{name}.")]


def _is_plugin(thing: object, module: ModuleType) -> bool:
    return (
        isinstance(thing, type)
        and issubclass(thing, Plugin)
        and thing is not Plugin
        and thing.__module__ == module.__name__
    )
