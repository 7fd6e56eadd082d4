"""What the control API answers when something is wrong, with toxiproxy's words and codes."""

from __future__ import annotations

__all__ = [
    "NO_PROXY",
    "NO_TOXIC",
    "ApiError",
    "bad_body",
    "failed",
    "missing",
]


class ApiError(Exception):
    """A request that is not done; `status` is the HTTP code of the answer."""

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        self.words = words
        super().__init__(words)

    @property
    def answer(self) -> dict[str, object]:
        """What is answered, as JSON has it."""
        return {"error": self.words, "status": self.status}


NO_PROXY = ApiError(404, "proxy not found")
NO_TOXIC = ApiError(404, "toxic not found")


def bad_body(why: str) -> ApiError:
    """Say what of a body cannot be read."""
    return ApiError(400, f"bad request body: {why}")


def missing(field: str) -> ApiError:
    """Name a field that a body lacks."""
    return ApiError(400, f"missing required field: {field}")


def failed(why: str) -> ApiError:
    """Say what the system did not let us do."""
    return ApiError(500, why)
