"""What the control API answers when a request fails, with toxiproxy's texts and status codes."""

from __future__ import annotations

from typing import NotRequired, TypedDict

__all__ = [
    "NO_PROXY",
    "NO_TOXIC",
    "ApiError",
    "ErrorJson",
    "bad_body",
    "failed",
    "missing",
]


class ErrorJson(TypedDict):
    """The body of an answer to a request that failed."""

    error: str
    status: int
    proxies: NotRequired[list[object]]


class ApiError(Exception):
    """A request that failed.

    Args:
        status: The HTTP status of the answer.
        text: What went wrong.
    """

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)

    @property
    def answer(self) -> ErrorJson:
        """The body of the answer."""
        return {"error": self.text, "status": self.status}


NO_PROXY = ApiError(404, "proxy not found")
NO_TOXIC = ApiError(404, "toxic not found")


def bad_body(reason: str) -> ApiError:
    """Return the error for a request body that is not what the request needs."""
    return ApiError(400, f"bad request body: {reason}")


def missing(field: str) -> ApiError:
    """Return the error for a request body that lacks a field."""
    return ApiError(400, f"missing required field: {field}")


def failed(reason: str) -> ApiError:
    """Return the error for a valid request that the system could not carry out."""
    return ApiError(500, reason)
