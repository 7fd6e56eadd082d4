"""Build description: what is a package, and which top-level folders travel inside it.

`captures/` and `plugins/` stand at the top of the repository, where people look for them, and
are installed as data below the package, where `lbcproxy.resources` finds them.
`twisted/plugins/` is where Twisted looks for `twistd lbcproxy`.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["lbcproxy", "lbcproxy.*"]),
        "twisted.plugins",
        "lbcproxy._captures",
        "lbcproxy._plugins",
    ],
    package_dir={
        "lbcproxy._captures": "captures",
        "lbcproxy._plugins": "plugins",
    },
    package_data={
        "lbcproxy": ["py.typed"],
        "lbcproxy._captures": ["*.md", "*.pcap", "*.truth.json"],
        "lbcproxy._plugins": ["*.md", "*.py"],
    },
)
