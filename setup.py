"""Build description: what is a package, and which top-level folders travel inside it.

`captures/` and `plugins/` stand at the top of the repository, where people look for them, and
are installed as data below the package, where `lbcproxy.resources` finds them.
`twisted/plugins/` is where Twisted looks for `twistd lbcproxy`.

The native engine is an extension that may be missing: where there is no C compiler (or no Cython),
the installation succeeds without it, and lbcproxy runs on construct.
"""

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

try:
    from Cython.Build import cythonize
except ImportError:
    cythonize = None


def extensions() -> list[Extension]:
    """Give the extensions that can be built here; the C source goes below `build/`."""
    if cythonize is None:
        return []
    native = Extension("lbcproxy.wire._native", ["lbcproxy/wire/_native.pyx"], optional=True)
    made: list[Extension] = cythonize([native], build_dir="build/cython", language_level=3)
    return made


class BuildExtension(build_ext):
    """An optional extension is optional also where the compiler itself is missing."""

    def build_extension(self, ext: Extension) -> None:
        """Build one; a program that is not there is an error of the compiler, too."""
        try:
            super().build_extension(ext)
        except OSError as error:
            raise CompileError(str(error)) from error


setup(
    cmdclass={"build_ext": BuildExtension},
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
        "lbcproxy.wire": ["_native.pyi", "_native.pyx"],
        "lbcproxy._captures": ["*.md", "*.pcap", "*.truth.json"],
        "lbcproxy._plugins": ["*.md", "*.py"],
    },
)
