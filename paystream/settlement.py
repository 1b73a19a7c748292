"""`paystream settlement import`: imports a file, and says what came of it.

Reads a path or S3, writes to Kafka. Everything that can be wrong is told in sentences, and by the exit code.
"""

from __future__ import annotations

from contextlib import closing

import typer
from confluent_kafka import KafkaException

from paystream.settings import Settings
from topology.kafka import KafkaConfig, WallClock, WrongPartitions
from topology.settlement_files import (
    FORMATS,
    FileRefused,
    Imported,
    KafkaFileLog,
    S3Access,
    SequenceTaken,
    SourceUnavailable,
    SpoolUnavailable,
    import_file,
    opened,
)

__all__ = ["import_settlement_file"]


def import_settlement_file(settings: Settings, location: str, form: str | None) -> int:
    """Import, tell, and give the exit code: 0 all lines are in; 1 refused, or not to be read; 2 no such format."""
    if form is not None and form not in FORMATS:
        return _failed(f"There is no format {form}; the formats are {', '.join(FORMATS)}.", code=2)
    access = S3Access(
        endpoint_url=settings["s3_endpoint_url"],
        region=settings["s3_region"],
        access_key_id=settings["s3_access_key_id"],
        secret_access_key=settings["s3_secret_access_key"],
    )
    log = KafkaFileLog(KafkaConfig(bootstrap=settings["kafka_bootstrap"]), partitions=settings["partitions"])
    try:
        with opened(location, access) as source, closing(log):
            done = import_file(source, log, at=WallClock().now(), form=None if form is None else FORMATS[form])
    except FileRefused as refused:
        for problem in refused.problems:
            typer.echo(f"{location}: {problem}", err=True)
        return _failed(f"{location} is refused: {refused.count} problems. Nothing of it was imported.")
    except (SequenceTaken, SourceUnavailable, WrongPartitions) as error:
        return _failed(str(error))
    except SpoolUnavailable as error:
        return _failed(f"{location}: {error}. Import the file again: it goes on from where it was.")
    except KafkaException as error:
        return _failed(
            f"Kafka at {settings['kafka_bootstrap']}: {error}. Import the file again: it goes on from there."
        )
    _tell(location, done)
    return 0


def _failed(reason: str, *, code: int = 1) -> int:
    typer.echo(reason, err=True)
    return code


def _tell(location: str, done: Imported) -> None:
    file = done.file
    written = file.lines - done.lines_before
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(file.kinds.items()))
    typer.echo(
        f"{location}: file {file.file_sequence} of {file.processor}, sha256 {done.sha256.hex()}, {file.lines} lines"
        f"{kinds and f' ({kinds})'}; {written} imported now, {done.lines_before} before"
    )
    if file.repeated_references:
        typer.echo(f"{location}: {file.repeated_references} lines capture what another line of it captures", err=True)
