"""A recorded client, played to the code under test that listens as a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lbcproxy.endpoint import Endpoint
from lbcproxy.pytest_plugin.future import Answer
from lbcproxy.pytest_plugin.loop import Loop
from lbcproxy.pytest_plugin.settings import Settings
from lbcproxy.replay import ComparisonReport, IgnoredFields, ReplayClient, load

__all__ = ["Client", "Diverged"]


class Diverged(AssertionError):
    """A node answered a recorded client otherwise than the recorded node; the text is the report.

    `report` has it in parts.
    """

    def __init__(self, report: ComparisonReport, shown: str) -> None:
        self.report = report
        super().__init__(f"{report}\ncapture: {shown}")


class Client:
    """The client of a capture; `run` plays it, as often as wanted."""

    def __init__(self, loop: Loop, settings: Settings, path: Path, shown: str) -> None:
        if not path.exists():
            raise ValueError(f"there is no capture {shown}")
        self._loop = loop
        self._settings = settings
        self._shown = shown
        self._answers: list[Answer[ComparisonReport]] = []
        self._running: set[ReplayClient] = set()
        self.path = path
        """The capture."""

    def run(self, host: str, port: int, *, check: bool = True) -> Answer[ComparisonReport]:
        """Play it to a node and give the report; fails with Diverged if the node is another.

        Without `check` the report alone says so. Fails with `replay.ReplayFailed` if there is no
        connection.
        """
        answer = self._loop.start(
            f"the recorded client at {Endpoint(host, port)}", self._run, Endpoint(host, port), check
        )
        self._answers.append(answer)
        return answer

    # What the plugin asks for.

    def problem(self) -> str:
        """Say if a run was never waited for."""
        if all(each.asked for each in self._answers):
            return ""
        return (
            "a replayed client was never waited for: await what run() gives, or call its result()"
        )

    def words(self) -> str:
        """Nothing: a report says it all."""
        return ""

    def finish(self, *, passed: bool) -> str:
        """End what still runs."""
        self._loop.call(self._abort)
        return ""

    async def _run(self, where: Endpoint, check: bool) -> ComparisonReport:
        settings = self._settings
        with load(
            self.path, session=settings.session, network=settings.chosen_network
        ) as conversation:
            client: Any = ReplayClient(
                self._loop.reactor,
                conversation,
                where,
                ignored=IgnoredFields(settings.ignore),
                timeout=settings.timeout,
            )
            self._running.add(client)
            try:
                report: ComparisonReport = await client.run()
            finally:
                self._running.discard(client)
        if check and not report.same:
            raise Diverged(report, self._shown)
        return report

    def _abort(self) -> None:
        for each in list(self._running):
            each.abort()
