"""A config file: its settings, the line of each, and errors that name the line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from lbcproxy.errors import LbcproxyError

__all__ = ["ConfigError", "Locations", "location_of", "read"]

Locations = Mapping[str, str]
"""The file and line of each setting, by its path (`proxies[0].listen`)."""


class ConfigError(LbcproxyError, ValueError):
    """A setting that is wrong.

    Args:
        what: What is wrong, and what would be right.
        path: The setting, such as `proxies[0].listen`.
        location: The file and line of the setting.
    """

    hint = "`lbcproxy options` lists every setting"
    exit_code = 2

    def __init__(self, what: str, path: str = "", location: str = "") -> None:
        self.what = what
        self.path = path
        super().__init__(": ".join(each for each in (location, path, what) if each))


def read(path: str | Path) -> tuple[dict[str, object], dict[str, str]]:
    """Read a YAML file.

    Returns:
        Its settings, and the location of each, for `load`.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or contains a setting twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(reason, location=str(path)) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        locations = {} if node is None else dict(_locations(node, "", str(path)))
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-02-31
        if isinstance(error, ConfigError):
            raise
        mark = getattr(error, "problem_mark", None)
        location = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", error)
        raise ConfigError(f"not valid YAML: {problem}", location=location) from error
    except RecursionError as error:
        raise ConfigError("not valid YAML: nested too deep", location=str(path)) from error
    if not isinstance(value, dict):
        raise ConfigError("settings are expected, as `name: value`", location=str(path))
    return value, locations


def location_of(locations: Locations, path: str) -> str:
    """Return the location of a setting, or of the nearest one around it; empty if unknown."""
    while path and path not in locations:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return locations.get(path, "")


def _locations(node: yaml.Node, path: str, file: str) -> Iterator[tuple[str, str]]:
    """Yield the path and location of each setting; raises ConfigError for one that is repeated."""
    yield path, f"{file}, line {node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            setting = f"{path}.{name}" if path else name
            location = f"{file}, line {key.start_mark.line + 1}"
            if name in seen:
                raise ConfigError("the setting appears twice", setting, location)
            seen.add(name)
            yield from _locations(value, setting, file)
            yield setting, location
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _locations(value, f"{path}[{number}]", file)
