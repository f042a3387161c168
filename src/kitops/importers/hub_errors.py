"""What went wrong at the hub, told apart: what is missing, what is closed, what may work later."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import NetworkError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.errors import KitError

_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, for errors.

    Args:
        repo: its id.
        revision: as the person named it.
        url: of its page.
        has_token: whether a token was sent.
    """

    repo: str
    revision: str
    url: str
    has_token: bool


@contextmanager
def told(asked: Asked, doing: str) -> Iterator[None]:
    """In the block, errors of the hub's client become SourceError (nothing changes by trying again) or NetworkError."""
    import httpx2  # noqa: PLC0415 - comes with the hub's client, and costs as much
    from huggingface_hub import errors  # noqa: PLC0415 - 140 ms

    try:
        yield
    except errors.HfHubHTTPError as error:
        raise _explain(error, asked, doing) from error
    except errors.OfflineModeIsEnabled as error:
        raise SourceError(f"{doing} {asked.repo}: the hub's client is offline", hint="unset HF_HUB_OFFLINE") from error
    except errors.HFValidationError as error:
        raise SourceError(f"{doing} {asked.repo}: not a name that the hub takes") from error
    except httpx2.InvalidURL as error:
        raise SourceError(f"{doing} {asked.repo}: the hub leads to an address that is none") from error
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        cause = f"{type(error).__name__}: {error}".rstrip(": ")
        hint = "run the same command again"
        if isinstance(error, httpx2.ConnectError):
            hint = "check the network, HTTPS_PROXY and HF_ENDPOINT; what came is kept"
        raise NetworkError(f"{doing} {asked.repo} from {asked.url}: {cause}", hint=hint) from error


def _explain(error: Exception, asked: Asked, doing: str) -> KitError:
    from huggingface_hub import errors  # noqa: PLC0415 - as above

    status = getattr(getattr(error, "response", None), "status_code", 0)
    said = " ".join(str(getattr(error, "server_message", None) or "").split())[:_LONGEST]
    match error:
        case errors.GatedRepoError():
            return _gated(asked)
        case errors.RevisionNotFoundError():
            return SourceError(
                f"{asked.repo} has no revision {asked.revision!r}",
                hint=f"see its branches and tags at {asked.url}/tree/main, and name one with --ref",
            )
        case errors.RemoteEntryNotFoundError():
            return SourceError(f"{doing} {asked.repo}: a file is not there at {asked.revision}")
        case errors.RepositoryNotFoundError():
            return _missing(asked, status)
        case errors.DisabledRepoError():
            return SourceError(f"{asked.repo} has been disabled by the hub", hint=f"see {asked.url}")
    return _by_status(asked, doing, status, said, error)


def _by_status(asked: Asked, doing: str, status: int, said: str, error: Exception) -> KitError:
    because = f": {said}" if said else ""
    if status == 401 and not asked.has_token:
        return _missing(asked, status)
    if status == 401:
        return SourceError(
            f"the hub refuses the token for {asked.repo}{because}",
            hint="make a new one at https://huggingface.co/settings/tokens; give it with --token or `hf auth login`",
        )
    if status == 403:
        return SourceError(
            f"the hub forbids access to {asked.repo}{because}",
            hint="give a token that may read this repository (fine-grained tokens list what they may)",
        )
    if status == 429:
        wait = getattr(error, "response").headers.get("Retry-After")  # noqa: B009 - typed as Exception here
        when = f" in {wait} s" if wait else " later"
        login = "" if asked.has_token else "; with a token (--token) the hub allows more"
        return NetworkError(
            f"the hub's rate limit is reached ({asked.repo})", hint=f"try again{when}{login}", permanent=True
        )
    if status >= 500 or status == 408:
        return NetworkError(
            f"{doing} {asked.repo}: the hub answers {status}{because}", hint="run the same command again"
        )
    return SourceError(f"{doing} {asked.repo}: the hub answers {status}{because}")


def _gated(asked: Asked) -> SourceError:
    if asked.has_token:
        return SourceError(
            f"{asked.repo} is gated, and the account of your token has no access to it",
            hint=f"ask for access at {asked.url}; a fine-grained token also needs the right to read gated repositories",
        )
    return SourceError(
        f"{asked.repo} is gated: only who has accepted its conditions may read it",
        hint=f"accept them at {asked.url}, then give a token with --token, HF_TOKEN or `hf auth login`",
    )


def _missing(asked: Asked, status: int) -> SourceError:
    if asked.has_token:
        return SourceError(
            f"there is no repository {asked.repo}, or the account of your token may not see it",
            hint=f"check the name at {asked.url}; datasets are named datasets/org/repo",
        )
    if status == 401:
        return SourceError(
            f"there is no public repository {asked.repo}",
            hint=f"check the name at {asked.url}; if it is private, give a token: --token, HF_TOKEN or `hf auth login`",
        )
    return SourceError(
        f"there is no repository {asked.repo}",
        hint=f"check the name at {asked.url}; datasets are named datasets/org/repo",
    )
