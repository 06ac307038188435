"""The reasons for which a file on another machine cannot be read, from the errors of many libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from marey.errors import MareyError, Reason, VideoError, first_line
from marey.remote_path import RemotePath, shown_text

_EXPIRED: Final = (
    *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
    *("SSOTokenLoadError", "UnauthorizedSSOTokenError", "TokenRetrievalError", "RefreshError"),
)
"""Codes and names of errors: credentials were valid once."""
_NO_CREDENTIALS: Final = (
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "DefaultCredentialsError"),
    *("ClientAuthenticationError",),
)
_TIMEOUTS: Final = ("FSTimeoutError", "ConnectTimeoutError", "ReadTimeoutError", "ServerTimeoutError")


class RemoteReadError(Exception):
    """A fault whose reason is known where it occurs."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Reason = reason
        self.detail = detail
        super().__init__(detail)


def remote_error(path: RemotePath, error: Exception) -> VideoError:
    """Return the error of a file on another machine, with its reason; no URL in it has a password or a query."""
    reason, detail = _explain(path, error)
    return VideoError(path, reason, shown_text(detail))


@contextmanager
def translated(path: RemotePath, kind: type[MareyError], what: str) -> Iterator[None]:
    """Turn the errors of an object store into those of marey.

    Args:
        path: of the file or the folder.
        kind: of the error.
        what: cannot be done with it, such as "listed".
    """
    try:
        yield
    except MareyError:
        raise
    except Exception as error:  # each store has errors of its own
        fault = remote_error(path, error)
        raise kind(f"{path} cannot be {what}: {fault.reason}: {fault.detail}") from None


def _explain(path: RemotePath, error: Exception) -> tuple[Reason, str]:
    if isinstance(error, RemoteReadError):
        return error.reason, error.detail
    names = {type(each).__name__ for each in (error, error.__cause__) if each is not None}
    codes = {_code(each) for each in (error, error.__cause__) if each is not None} - {""}
    label = ", ".join(sorted(codes or names))
    status = next((status for each in (error, error.__cause__) if (status := _status(each)) is not None), None)
    refused = isinstance(error, PermissionError) or status in (400, 401, 403)
    if (names | codes) & set(_EXPIRED) or (refused and "expired" in first_line(error).lower()):
        return "expired", f"the credentials have expired ({label}): get new ones and run it again"
    if names & set(_NO_CREDENTIALS):
        return "forbidden", f"no credentials are known for {path.scheme}:// ({label}): {_WHERE}"
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "missing", "there is no such file"
    if refused and status != 400:
        return "forbidden", f"reading it is refused ({label}): {_WHERE}"
    if isinstance(error, TimeoutError) or names & set(_TIMEOUTS):
        return "timeout", f"the server did not answer in time ({label})"
    return "unreachable", f"it cannot be read from its server: {label}: {first_line(error)}"


_WHERE: Final = "the page docs/guides/remote.md says where credentials are looked for"


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status that an error of a library carries."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status", "status_code", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return None
