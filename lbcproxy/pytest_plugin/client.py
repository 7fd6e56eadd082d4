"""A recorded client, replayed against the code under test, which listens as a node."""

from __future__ import annotations

from pathlib import Path

from lbcproxy.endpoint import Endpoint
from lbcproxy.pytest_plugin.future import PendingResult
from lbcproxy.pytest_plugin.loop import Loop
from lbcproxy.pytest_plugin.settings import Settings
from lbcproxy.replay import ComparisonReport, IgnoredFields, ReplayClient, load

__all__ = ["Client", "Diverged"]


class Diverged(AssertionError):
    """A node answered a recorded client differently from the recorded node.

    The text is that of `report`.
    """

    def __init__(self, report: ComparisonReport, shown: str) -> None:
        self.report = report
        super().__init__(f"{report}\ncapture: {shown}")


class Client:
    """The client of a capture; `run` replays it, any number of times."""

    def __init__(self, loop: Loop, settings: Settings, path: Path, shown: str) -> None:
        if not path.exists():
            raise ValueError(f"there is no capture {shown}")
        self._loop = loop
        self._settings = settings
        self._shown = shown
        self._answers: list[PendingResult[ComparisonReport]] = []
        self._running: set[ReplayClient] = set()
        self.path = path
        """The capture."""

    def run(self, host: str, port: int, *, check: bool = True) -> PendingResult[ComparisonReport]:
        """Replay the client against a node.

        Args:
            host: The node's host.
            port: The node's port.
            check: Whether the result fails with `Diverged` if there are differences.

        Returns:
            The report. Fails with `replay.ReplayFailed` if there is no connection.
        """
        answer = self._loop.start(
            f"the recorded client at {Endpoint(host, port)}", self._run, Endpoint(host, port), check
        )
        self._answers.append(answer)
        return answer

    # Called by the plugin.

    def problem(self) -> str:
        """Return an error if a run was never awaited."""
        if all(each.is_awaited for each in self._answers):
            return ""
        return "a replayed client was never awaited: await what run() returns, or call its result()"

    def details(self) -> str:
        """Return nothing: the report is complete."""
        return ""

    def finish(self, *, passed: bool) -> str:
        """Abort the runs that are in progress."""
        self._loop.call(self._abort)
        return ""

    async def _run(self, where: Endpoint, check: bool) -> ComparisonReport:
        settings = self._settings
        with load(
            self.path, session=settings.session, network=settings.chosen_network
        ) as conversation:
            client = ReplayClient(
                self._loop.reactor,
                conversation,
                where,
                ignored=IgnoredFields(settings.ignore),
                timeout=settings.timeout,
                transport=settings.connecting_transport,
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
