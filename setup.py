"""Build description: what is a package, and which top-level folders travel inside it.

`captures/` and `plugins/` stand at the top of the repository, where people look for them, and
are installed as data below the package, where `lbcproxy.resources` finds them.
`twisted/plugins/` is where Twisted looks for `twistd lbcproxy`.

The native engine is an extension that may be missing: where there is no C compiler (or no Cython),
the installation succeeds without it, and lbcproxy runs on construct.
"""

from setuptools import Extension, find_packages, setup

try:
    from Cython.Build import cythonize
except ImportError:
    cythonize = None


def extensions() -> list[Extension]:
    """Give the extensions that can be built here; the C source goes below `build/`."""
    if cythonize is None:
        return []
    native = [
        Extension(f"lbcproxy.wire.{name}", [f"lbcproxy/wire/{name}.pyx"])
        for name in ("_native", "_plain", "_scan")
    ]
    made: list[Extension] = cythonize(native, build_dir="build/cython", language_level=3)
    for extension in made:
        extension.optional = True  # cythonize does not keep it
    return made


setup(
    ext_modules=extensions(),
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
        "lbcproxy.wire": ["_*.pyi", "_*.pyx", "_*.h"],
        "lbcproxy.wireshark": ["runtime/*.lua"],
        "lbcproxy._captures": ["*.md", "*.pcap", "btcd-*.pcapng", "*.truth.json"],
        "lbcproxy._plugins": ["*.md", "*.py"],
    },
)
