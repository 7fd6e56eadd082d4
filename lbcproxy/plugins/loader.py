"""Plugin files: found, loaded, checked before any session, and reloaded when they change."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

import msgspec

from lbcproxy.errors import LbcproxyError
from lbcproxy.interrupt import is_ctrl_c, words_of
from lbcproxy.plugins.api import BadSetting, Plugin, make
from lbcproxy.plugins.hooks import BadHook, Hooks, PluginChain, PluginHealth
from lbcproxy.plugins.session_view import LiveSession
from lbcproxy.resources import folder
from lbcproxy.session import Message

__all__ = [
    "BadPlugin",
    "PluginFile",
    "PluginSpec",
    "chain_of",
    "describe_error",
    "parse_spec",
    "reloaded_chain",
]


class BadPlugin(LbcproxyError):
    """A plugin that cannot be used; the message says which file, where, and why."""

    exit_code = 2
    hint = "`lbcproxy.plugin` says what a plugin is; docs/plugins.md has examples"


class PluginSpec(msgspec.Struct, frozen=True):
    """A plugin and its settings."""

    file: str
    """A path, or the name of a plugin that comes with lbcproxy."""
    settings: dict[str, object] = {}


def parse_spec(text: str) -> PluginSpec:
    """Parse `FILE [NAME=VALUE ...]`; raises BadPlugin."""
    file, *words = shlex.split(text) or [""]
    settings: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadPlugin(f"{text!r}: {word!r} is not NAME=VALUE")
        settings[name] = value
    return PluginSpec(file, settings)


class PluginFile:
    """A loaded plugin file.

    Args:
        spec: The plugin and its settings.

    Raises:
        BadPlugin: The file cannot be loaded, or has no plugin.
    """

    def __init__(self, spec: PluginSpec) -> None:
        self.spec = spec
        self.path = _path(spec.file)
        self.health = PluginHealth()
        self._classes = self._load()
        self._stamp = self._stat()

    @property
    def name(self) -> str:
        """Its name in log lines and captures."""
        return self.path.stem

    def has_changed(self) -> bool:
        """Return whether the file has changed since it was loaded."""
        stamp = self._stat()
        return stamp[0] is not None and stamp != self._stamp

    def reload(self) -> None:
        """Load the file as it is now; if that raises BadPlugin, what was loaded stays."""
        before = self._stat()
        try:
            self._classes = self._load()
        finally:
            # The file as it was before it was read, and the helpers that it has now.
            self._stamp = (before[0], *self._stat()[1:])
        self.health = PluginHealth()

    def hooks(self) -> list[Hooks]:
        """Return its plugins, new for a session."""
        return [self._hooks(each) for each in self._classes]

    def _hooks(self, plugin_class: type[Plugin]) -> Hooks:
        """Return one plugin; if it cannot be made for this session, one whose hooks say so."""
        try:
            hooks = Hooks(self.name, make(plugin_class, self.spec.settings), self.health)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            hooks = Hooks(self.name, _FailedPlugin(error), self.health)
        hooks.origin = (self.path, plugin_class.__name__)
        hooks.settings = self.spec.settings
        return hooks

    def _stat(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(map(_stamp, (self.path, *_helpers(self.path))))

    def _load(self) -> list[type[Plugin]]:
        module = _module(self.path)
        classes = [each for each in vars(module).values() if _is_plugin(each, module)]
        if not classes:
            raise BadPlugin(f"{self.path}: has no subclass of lbcproxy.plugin.Plugin")
        try:
            for each in classes:
                Hooks(self.name, make(each, self.spec.settings))
        except (BadHook, BadSetting) as error:
            raise BadPlugin(f"{self.path}: {error}") from None
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            raise BadPlugin(
                f"{self.path}: cannot be made: {describe_error(error, self.path)}"
            ) from error
        return classes


def chain_of(files: Sequence[PluginFile]) -> PluginChain:
    """Return the plugins of a session."""
    return PluginChain([hooks for each in files for hooks in each.hooks()])


class _FailedPlugin(Plugin):
    """Replaces a plugin that could not be made for a session: its hooks raise the same error.

    So the failure is reported under the plugin's name, and the failure policy applies.
    """

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def on_start(self, session: LiveSession) -> None:
        """Raise the error."""
        raise self._error

    def on_message(self, session: LiveSession, message: Message) -> None:
        """Raise the error."""
        raise self._error


def reloaded_chain(chain: PluginChain, files: Sequence[PluginFile]) -> PluginChain:
    """Return new plugins for a running session, with the attributes of those they replace.

    A plugin replaces one of the same file and class. Settings that have changed are not copied.
    """
    new = chain_of(files)
    before = list(chain.plugins)
    for each in new.plugins:
        same = [old for old in before if old.origin is not None and old.origin == each.origin]
        if not same:
            continue
        old = next((old for old in same if old.settings == each.settings), same[0])
        before.remove(old)
        if isinstance(old.plugin, _FailedPlugin) or isinstance(each.plugin, _FailedPlugin):
            continue
        changed = {name for name, value in each.settings.items() if old.settings.get(name) != value}
        kept = {name: value for name, value in vars(old.plugin).items() if name not in changed}
        vars(each.plugin).update(kept)
    return new


def describe_error(error: BaseException, path: Path | None = None) -> str:
    """Return what was raised, and at which line of the plugin."""
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
    raise BadPlugin(f"no plugin file {file!r}; these come with lbcproxy: {there or 'none'}")


def _module_name(path: Path) -> str:
    """Return a module name that is unique to a file: annotations are looked up by it."""
    return f"lbcproxy_plugin_{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:16]}"


def _helpers(path: Path) -> list[Path]:
    """Return the files next to a plugin that it has imported: `from . import helper`."""
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
    # It is a package of the files next to it, so that its helpers are its own too.
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)]
    )
    if spec is None or spec.loader is None:
        raise BadPlugin(f"{path}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = {each: sys.modules.pop(each) for each in _modules(name)}
    importlib.invalidate_caches()  # a helper may be new
    sys.modules[name] = module  # annotations are looked up there
    try:
        # Not through the loader, which takes bytecode of the same second for current.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102
    except BaseException as error:
        for each in _modules(name):
            del sys.modules[each]
        sys.modules.update(before)  # what was loaded stays
        if is_ctrl_c(error):
            raise
        raise BadPlugin(f"{path}: {describe_error(error, path)}") from error
    return module


def _modules(name: str) -> list[str]:
    """Return the names of a plugin's module and of its helpers in `sys.modules`."""
    return [each for each in sys.modules if each == name or each.startswith(f"{name}.")]


def _is_plugin(thing: object, module: ModuleType) -> TypeGuard[type[Plugin]]:
    return (
        isinstance(thing, type)
        and issubclass(thing, Plugin)
        and thing is not Plugin
        and thing.__module__ == module.__name__
    )
