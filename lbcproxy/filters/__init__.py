"""The filter language that selects messages: in `run`, in `show`, in faults and by plugins.

`parse` compiles a filter once; the filter is then called with entries. A message is decoded only
when the filter needs one of its fields. docs/filters.md describes the language for users.
"""

from lbcproxy.filters.errors import BadFilter
from lbcproxy.filters.filter import Filter, parse

__all__ = ["BadFilter", "Filter", "parse"]
