"""Every setting of every process: read from the environment once, at start, and checked there.

`TABLE` is the documentation too: the README's table is made from it (`python -m paystream.settings`). Nothing outside
this package reads the environment; everything else is handed values.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.identifiers import InvalidIdentifier, MerchantId, parse_merchant_id

__all__ = ["TABLE", "ApiKey", "Setting", "Settings", "SettingsError", "load", "markdown_table"]

PREFIX = "PAYSTREAM_"


class SettingsError(ValueError):
    """What is wrong with the environment, one sentence a setting; secrets are not echoed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A merchant's key; it cannot print itself."""

    key: str
    merchant_id: MerchantId

    def __repr__(self) -> str:
        return f"ApiKey(key=…, merchant_id={self.merchant_id!r})"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name without the prefix, its default as written (None: none), and what it means."""

    name: str
    default: str | None
    parse: Callable[[str], Any]
    meaning: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()


def _text(value: str) -> str:
    return value


def _port(value: str) -> int:
    number = int(value)
    if not 0 <= number <= 65_535:
        raise ValueError("is no port")
    return number


def _count(value: str) -> int:
    number = int(value)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def _seconds(value: str) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError("must be a positive number of seconds")
    return number


def _switch(value: str) -> bool:
    if value not in ("on", "off"):
        raise ValueError("must be on or off")
    return value == "on"


def _ladder(value: str) -> tuple[float, ...]:
    return tuple(_seconds(step) for step in value.split(","))


def _bootstrap(value: str) -> str:
    if not all(re.fullmatch(r"[^\s:,]+:\d{1,5}", server) for server in value.split(",")):
        raise ValueError("must be host:port, several separated by commas")
    return value


def _host_and_port(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", host) or not re.fullmatch(r"\d{1,5}", port):
        raise ValueError("must be host:port")
    return host, _port(port)


def _acquirer_id(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,11}", value):
        raise ValueError("must be 1 to 11 digits")
    return value


def _terminal_id(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]{8}", value):
        raise ValueError("must be 8 letters or digits")
    return value


def _reversal_family(value: str) -> str:
    if value not in ("0400", "0420"):
        raise ValueError("must be 0400 or 0420")
    return value


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+", value):
        raise ValueError("must be http(s)://host:port without a path")
    return value


def _postgres_uri(value: str) -> str:
    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("must be a postgresql:// URI")
    return value


def _instance(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
        raise ValueError("must be 1 to 64 letters, digits, dots, dashes or underscores")
    return value


def _names(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if not all(re.fullmatch(r"[a-z0-9_-]{1,64}", name) for name in names):
        raise ValueError("must be names separated by commas")
    return names


def _api_keys(value: str) -> tuple[ApiKey, ...]:
    keys = []
    for pair in value.split(","):
        key, equals, merchant = pair.partition("=")
        if not equals:
            raise ValueError("must be KEY=MERCHANT, several separated by commas")
        try:
            keys.append(ApiKey(key, parse_merchant_id(merchant)))
        except InvalidIdentifier:
            raise ValueError("names a merchant that is not of the form mer_…") from None
    return tuple(keys)


def _cut_offs(value: str) -> dict[str, tuple[time, ZoneInfo]]:
    cut_offs: dict[str, tuple[time, ZoneInfo]] = {}
    for pair in value.split(","):
        found = re.fullmatch(r"([a-z0-9_-]{1,64})=([01][0-9]|2[0-3]):([0-5][0-9])@([A-Za-z0-9_+/-]{1,64})", pair)
        if not found:
            raise ValueError("must be PROCESSOR=HH:MM@ZONE, several separated by commas")
        processor, hour, minute, zone = found.groups()
        try:
            cut_offs[processor] = time(int(hour), int(minute)), ZoneInfo(zone)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ValueError("names a time zone that is not known (IANA)") from None
    return cut_offs


def _holidays(value: str) -> dict[str, frozenset[date]]:
    holidays: dict[str, frozenset[date]] = {}
    for pair in value.split(","):
        processor, equals, days = pair.partition("=")
        if not equals:
            raise ValueError("must be PROCESSOR=YYYY-MM-DD+YYYY-MM-DD, several separated by commas")
        try:
            holidays[processor] = frozenset(map(date.fromisoformat, days.split("+")))
        except ValueError:
            raise ValueError("has a date that is not of the form YYYY-MM-DD") from None
    return holidays


def _days(value: str) -> int:
    number = int(value)
    if not 0 <= number <= 30:
        raise ValueError("must be 0 to 30 days")
    return number


def _hmac_key(value: str) -> tuple[str, bytes]:
    name, colon, digits = value.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z0-9_-]{1,16}", name) or not re.fullmatch(r"([0-9a-f]{2}){16,64}", digits):
        raise ValueError("must be ID:HEX, the key being 16 to 64 bytes in lower-case hexadecimal")
    return name, bytes.fromhex(digits)


TABLE = (
    Setting("kafka_bootstrap", None, _bootstrap, "Kafka brokers, `host:port,…`"),
    Setting("partitions", "4", _count, "partitions of every topic; for life"),
    Setting(
        "replication_factor", "1", _count, "replicas of every topic; 3 in production (then `min.insync.replicas=2`)"
    ),
    Setting("postgres_uri", None, _postgres_uri, "read model, `postgresql://user:password@host:port/database`", True),
    Setting("instance", "0", _instance, "name of this process within its flow; the pod's name in a StatefulSet"),
    Setting("http_host", "127.0.0.1", _text, "address that this process serves HTTP on"),
    Setting(
        "http_port",
        None,
        _port,
        "port that it serves HTTP on: the API, or `/healthz`, `/readyz` and `/metrics` of a flow",
    ),
    Setting("public_url", None, _url, "base URL under which others reach ingress"),
    Setting("api_keys", None, _api_keys, "test keys, `KEY=MERCHANT,…`; a live key cannot be made yet", True),
    Setting("client_secret_key", None, _hmac_key, "key of the HMAC that makes client secrets, `ID:HEX`", True),
    Setting("route", "cardnet", _names, "processors in order of preference"),
    Setting("card_network_url", None, _url, "base URL of the processor `cardnet`"),
    Setting("iso8583_address", None, _host_and_port, "`host:port` of the processor `isonet`; empty: there is none"),
    Setting("iso8583_acquirer_id", "00000000001", _acquirer_id, "who we are to it (DE 32); stays as it is"),
    Setting("iso8583_terminal_id", "PAYSTRM1", _terminal_id, "our terminal at it (DE 41); stays as it is"),
    Setting("iso8583_connections", "4", _count, "connections that processing keeps to it"),
    Setting("iso8583_reversal_family", "0400", _reversal_family, "message type of its reversals, `0400` or `0420`"),
    Setting("call_deadline_seconds", "10", _seconds, "how long a processor call may take"),
    Setting("calls_in_flight", "2000", _count, "calls in flight at once, per processor and process"),
    Setting("captures_waiting", "100000", _count, "captures and voids that wait in a process before it reads no more"),
    Setting(
        "ladder_seconds",
        "10,60,300,1800,3600,21600,86400",
        _ladder,
        "when a pending transaction is looked up; the last step repeats",
    ),
    Setting("challenge_timeout_seconds", "900", _seconds, "how long a challenge may take"),
    Setting("abandonment_seconds", "86400", _seconds, "how long a PaymentIntent waits for an attempt"),
    Setting("doubt_alert_seconds", "86400", _seconds, "when a transaction in doubt raises an alert"),
    Setting(
        "forget_after_seconds", "600", _seconds, "for how long at least the fold remembers what has come to its end"
    ),
    Setting(
        "read_model_slack_seconds",
        "60",
        _seconds,
        "by how much the read model's watermark trails the log's end; longer than any transaction is open",
    ),
    Setting("test_clock", "off", _switch, "`on`: `paystream clock advance` moves the time of payments in test mode"),
    Setting(
        "settlement_cut_offs",
        "cardnet=00:00@UTC,isonet=00:00@UTC",
        _cut_offs,
        "when each processor's settlement day ends, `PROCESSOR=HH:MM@ZONE,…`",
    ),
    Setting("settlement_grace_days", "3", _days, "business days after it until which a settlement line may come"),
    Setting(
        "settlement_holidays",
        None,
        _holidays,
        "weekdays on which a processor does not settle, `PROCESSOR=YYYY-MM-DD+YYYY-MM-DD,…`",
    ),
    Setting("s3_endpoint_url", None, _url, "S3 that settlement files are fetched from; Amazon's where it is not set"),
    Setting("s3_region", "us-east-1", _text, "region of that S3"),
    Setting("s3_access_key_id", None, _text, "who asks there; found as Amazon's tools find it where it is not set"),
    Setting("s3_secret_access_key", None, _text, "the key that goes with it", True),
    Setting("log_level", "INFO", _text, "`DEBUG`, `INFO`, `WARNING` or `ERROR`"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The parsed settings; those without a default are None until `require` has seen them."""

    values: Mapping[str, Any]

    def __repr__(self) -> str:
        secret = {setting.name for setting in TABLE if setting.secret}
        shown = {name: "…" if name in secret else value for name, value in self.values.items()}
        return f"Settings({shown})"

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def load(environment: Mapping[str, str], *, required: tuple[str, ...]) -> Settings:
    """Read and check all settings; raises SettingsError with every problem at once."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    for setting in TABLE:
        raw = environment.get(setting.variable, setting.default)
        if not raw:
            values[setting.name] = None
            if setting.name in required:
                problems.append(f"{setting.variable} is not set: {setting.meaning}.")
            continue
        try:
            values[setting.name] = setting.parse(raw)
        except ValueError as error:
            shown = "" if setting.secret else f" ({raw!r})"
            reason = str(error) if not str(error).startswith(("invalid literal", "could not")) else "must be a number"
            problems.append(f"{setting.variable}{shown} {reason}.")
    known = {setting.variable for setting in TABLE}
    problems += [
        f"{variable} is no setting of Paystream."
        for variable in sorted(environment)
        if variable.startswith(PREFIX) and variable not in known and not variable.startswith(PREFIX + "TEST_")
    ]
    if problems:
        raise SettingsError(problems)
    return Settings(values=values)


def markdown_table() -> str:
    """The settings as the README shows them."""
    rows = [
        f"| `{setting.variable}` | {f'`{setting.default}`' if setting.default else ''} | {setting.meaning} |"
        for setting in TABLE
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


if __name__ == "__main__":
    sys.stdout.write(markdown_table() + "\n")
