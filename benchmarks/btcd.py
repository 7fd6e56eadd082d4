"""btcd nodes on regtest: started, asked over RPC, ended."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from benchmarks.contestants import TOOLS, free_port

__all__ = ["Node", "RpcRefused", "program"]

TIMEOUT = 60.0
"""Seconds that it may take to start and to answer."""
LOGIN = ("u", "p")


class RpcRefused(Exception):
    """The node answers with an error."""


def program() -> str | None:
    """Return the path of btcd, if it is there."""
    path = f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return os.environ.get("LBCPROXY_TEST_BTCD") or shutil.which("btcd", path=path)


class Node:
    """One node with its files in a folder; it looks for no peers. A context: it runs inside."""

    def __init__(self, folder: Path) -> None:
        self.port, self._rpc_port = free_port(), free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "empty.conf"
        settings.touch()
        flags = (
            "--regtest",
            "--nodnsseed",
            "--notls",
            "--nobanning",
            "--nostalldetect",
            "--debuglevel=warn",
            f"--configfile={settings}",
            f"--datadir={self._folder / 'data'}",
            f"--logdir={self._folder / 'logs'}",
            f"--rpcuser={LOGIN[0]}",
            f"--rpcpass={LOGIN[1]}",
            f"--rpclisten=127.0.0.1:{self._rpc_port}",
            f"--listen=127.0.0.1:{self.port}",
        )
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  # btcd, with our flags
                [str(program()), *flags], stdout=output, stderr=output
            )
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()  # in order it takes long, and nobody needs its files any more
        self._process.wait()

    def ask(self, method: str, *parameters: object) -> Any:
        """Call a method over RPC; raises RpcRefused, or OSError if the node does not answer."""
        login = base64.b64encode(":".join(LOGIN).encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self._rpc_port, timeout=TIMEOUT)
        body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": parameters})
        try:
            connection.request("POST", "/", body, {"Authorization": f"Basic {login}"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if answer["error"] is not None:
            raise RpcRefused(f"{method}: {answer['error']}")
        return answer["result"]

    @property
    def height(self) -> int:
        """How many blocks it has on the first one."""
        return int(self.ask("getblockcount"))

    def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self.ask("getblockcount")
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.05)
            else:
                return
        output = (self._folder / "output.txt").read_text(errors="replace")
        raise RuntimeError(f"btcd does not answer: {output[-1000:]}")
