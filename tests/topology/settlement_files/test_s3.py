"""Settlement files out of a real S3: read whole, and what is wrong told in a sentence."""

from __future__ import annotations

import hashlib

import boto3
import pytest

from tests.harness.stack import RunningStack
from tests.topology.settlement_files.files import booking, csv_file
from topology.settlement_files import S3Access, SourceUnavailable, opened
from topology.settlement_files.spooling import spooled

CONTENT = csv_file([booking(number) for number in range(30_000)]).encode()


@pytest.fixture(scope="module")
def access(s3: RunningStack) -> S3Access:
    """S3 with a report in it."""
    access = S3Access(
        endpoint_url=s3.s3,
        access_key_id=str(s3.description["s3_access_key"]),
        secret_access_key=str(s3.description["s3_secret_key"]),
    )
    client = boto3.client(
        "s3",
        endpoint_url=access.endpoint_url,
        region_name=access.region,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
    )
    client.create_bucket(Bucket="settlement")
    client.put_object(Bucket="settlement", Key="cardnet/2026-09-21.csv", Body=CONTENT)
    return access


def test_a_file_is_read_whole(access: S3Access) -> None:
    with opened("s3://settlement/cardnet/2026-09-21.csv", access) as source, spooled(source) as copy:
        assert copy.sha256 == hashlib.sha256(CONTENT).digest()
        assert copy.file.read() == CONTENT


@pytest.mark.parametrize("location", ["s3://settlement/absent.csv", "s3://absent/file.csv"])
def test_what_is_not_there(access: S3Access, location: str) -> None:
    with pytest.raises(SourceUnavailable, match=location), opened(location, access):
        pass


def test_whoever_may_not_read_is_told_so(access: S3Access) -> None:
    stranger = S3Access(endpoint_url=access.endpoint_url, access_key_id="nobody", secret_access_key="wrong-secret")
    with (
        pytest.raises(SourceUnavailable) as refused,
        opened("s3://settlement/cardnet/2026-09-21.csv", stranger),
    ):
        pass
    assert "wrong-secret" not in str(refused.value)
