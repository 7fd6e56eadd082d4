"""A service in this process, with a config file that tests change."""

from pathlib import Path
from typing import Any

import yaml
from twisted.logger import globalLogPublisher

from lbcproxy.config import load, read
from lbcproxy.service import LbcproxyService, Logs
from tests.proxy.loops import Loop
from tests.proxy.transports import NETWORK

__all__ = ["Served"]


class Served:
    """A service, its config file, and what it logged."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop = loop
        self.folder = folder
        self.path = folder / "config.yaml"
        self.lines: list[str] = []
        self.ended: list[bool] = []
        self.logs = Logs(lambda line, bad: self.lines.append(line))
        self.service: Any = None

    def write(self, *proxies: dict[str, Any], **settings: Any) -> None:
        """Write the config."""
        settings = {"network": NETWORK.id, "record": str(self.folder / "x.pcapng"), **settings}
        self.path.write_text(yaml.safe_dump({**settings, "proxies": list(proxies)}))

    def start(self, *proxies: dict[str, Any], **settings: Any) -> "Served":
        """Write it and start."""
        self.write(*proxies, **settings)
        config = load(*read(self.path))
        self.service = LbcproxyService(
            self.loop.reactor,
            config,
            self.logs,
            reload=lambda: load(*read(self.path)),
            on_failure=lambda: self.ended.append(True),
        )
        self.service.set_logs(config)
        self.logs.join()
        self.loop.call(self.service.open)
        return self

    def hang_up(self) -> None:
        """Reload the config."""
        self.loop.call(self.service.hang_up)

    def stop(self) -> None:
        """Stop it, wait, and be no log any more."""
        if self.service is not None:
            self.loop.call(self.service.stopService)
        self.logs.end()
        globalLogPublisher.removeObserver(self.logs)

    @property
    def log(self) -> str:
        """All lines, without their times."""
        return "\n".join(line.partition("]")[2].strip() for line in self.lines)
