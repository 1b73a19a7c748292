"""Where settlement files are fetched from: a path, or `s3://bucket/key`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from topology.settlement_files.spooling import Readable

__all__ = ["S3Access", "SourceUnavailable", "opened"]

_S3 = "s3://"


class SourceUnavailable(OSError):
    """The file is not there, or cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """Where S3 is and who asks; it cannot print its secret. Without keys they are found as Amazon's tools find them."""

    endpoint_url: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = None

    def __repr__(self) -> str:
        return f"S3Access(endpoint_url={self.endpoint_url!r}, region={self.region!r}, …)"


@contextmanager
def opened(location: str, access: S3Access) -> Iterator[Readable]:
    """Open a file for reading from its beginning. Raises SourceUnavailable, from the reads within too."""
    if location.startswith(_S3):
        with _opened_in_s3(location, access) as source:
            yield source
        return
    with _opened_here(location) as file:
        yield _Source(file, location, (OSError,))


class _Source:
    """Reads, and says what went wrong as `opened` promises."""

    def __init__(self, source: Readable, location: str, failures: tuple[type[Exception], ...]) -> None:
        self._source = source
        self._location = location
        self._failures = failures

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end. Raises SourceUnavailable."""
        try:
            return self._source.read(size)
        except self._failures as error:
            raise _unavailable(self._location, error) from error


def _unavailable(location: str, error: Exception) -> SourceUnavailable:
    reason = error.strerror if isinstance(error, OSError) else None
    return SourceUnavailable(f"{location}: {reason or error}")


def _opened_here(location: str) -> BinaryIO:
    try:
        return Path(location).open("rb")
    except OSError as error:
        raise _unavailable(location, error) from error


@contextmanager
def _opened_in_s3(location: str, access: S3Access) -> Iterator[Readable]:
    # Half a second to import, and only wanted here.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    bucket, _, key = location.removeprefix(_S3).partition("/")
    if not bucket or not key:
        raise SourceUnavailable(f"{location} is not of the form s3://bucket/key")
    # Not all that breaks off a body is one of botocore's own errors.
    failures = (BotoCoreError, ClientError, HTTPError, OSError)
    try:
        client = boto3.client(
            "s3",
            endpoint_url=access.endpoint_url,
            region_name=access.region,
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 3}),
        )
        found = client.get_object(Bucket=bucket, Key=key)["Body"]
    except failures as error:
        raise _unavailable(location, error) from error
    with closing(found) as body:
        yield _Source(body, location, failures)
