"""One language for which messages are meant: in `run`, in `show`, and by plugins.

`parse` reads a filter once; the filter is then asked of entries. A message is decoded when one of
its fields is asked for, and not before. docs/filters.md is the language for its users.
"""

from lbcproxy.filters.errors import BadFilter
from lbcproxy.filters.filter import Filter, parse

__all__ = ["BadFilter", "Filter", "parse"]
