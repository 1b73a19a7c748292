"""Settlement files: read, checked whole, and written line by line to `payments.settlement-lines`.

`port` is what a format offers, `csv_rows` and `nested_json` are two of them, `checking` knows what a file has to say,
`spooling` holds it on disk meanwhile, `sources` fetches it, `importing` writes it to the log. Driven by the command
line. It stands beside the flows and not in them: whoever imports is nobody's shard, and a file is no stream. Under
`topology`, because only what may import Kafka's clients may write to the log.
"""

from topology.settlement_files.checking import CheckedFile, FileRefused
from topology.settlement_files.formats import FORMATS
from topology.settlement_files.importing import Imported, SequenceTaken, import_file
from topology.settlement_files.kafka_log import KafkaFileLog
from topology.settlement_files.sources import S3Access, SourceUnavailable, opened
from topology.settlement_files.spooling import SpoolUnavailable

__all__ = [
    "FORMATS",
    "CheckedFile",
    "FileRefused",
    "Imported",
    "KafkaFileLog",
    "S3Access",
    "SequenceTaken",
    "SourceUnavailable",
    "SpoolUnavailable",
    "import_file",
    "opened",
]
