"""The pieces of the stack that need no process: options, ports, secrets, locks, logs, checks, and what is printed."""

from __future__ import annotations

import re
import shlex
import socket
import zlib
from collections.abc import Iterator
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from paystream.settings import load
from sandbox.stack import FLOWS, Part, StackError, StackOptions, erase
from sandbox.stack.composition import compose
from sandbox.stack.credentials import BASE62, load_credentials, make_test_key
from sandbox.stack.errors import AlreadyRunning, Unfit
from sandbox.stack.layout import Layout, Lock, write_privately
from sandbox.stack.logs import last_lines, rotate
from sandbox.stack.ports import EPHEMERAL_RANGE, choose_ports, is_free
from sandbox.stack.preflight import available_memory_mb, check_machine
from sandbox.stack.progress import example
from sandbox.stack.services import service_processes
from sandbox.stack.spec import ChildSpec, StopStage


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """An empty directory for a stack; what composing puts elsewhere is removed too."""
    found = Layout(tmp_path / "stack")
    found.create()
    yield found
    assert erase(found.directory) == 0


def test_a_test_key_ends_in_the_checksum_of_all_before_it() -> None:
    key = make_test_key()
    assert re.fullmatch(r"ps_sk_test_[0-9A-Za-z]{36}", key)
    checksum = 0
    for digit in key[-6:]:
        checksum = checksum * 62 + BASE62.index(digit)
    assert checksum == zlib.crc32(key[:-6].encode())


def test_secrets_are_made_once_and_do_not_print_themselves(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = load_credentials(path)
    assert load_credentials(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    for secret in (first.api_key, first.postgres_password, first.s3_secret_key, first.client_secret_key):
        assert secret not in repr(first)


def test_ports_are_kept_while_they_are_free(tmp_path: Path) -> None:
    remembered = tmp_path / "ports.json"
    first = choose_ports(["a", "b", "c"], remembered)
    assert len(set(first.values())) == 3
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first["b"]))
        second = choose_ports(["a", "b", "c", "d"], remembered)
    assert {name: port for name, port in second.items() if first.get(name) == port}.keys() == {"a", "c"}
    assert len(set(second.values())) == 4


def test_ports_lie_where_no_outgoing_connection_takes_them(tmp_path: Path) -> None:
    first_ephemeral = int(EPHEMERAL_RANGE.read_text().split()[0])
    for port in choose_ports([str(number) for number in range(20)], tmp_path / "ports.json").values():
        assert port < min(first_ephemeral, 55_000)
        assert is_free(port)


def test_the_worker_of_s3_finds_its_admin_server_where_it_looks(layout: Layout) -> None:
    composition = compose(StackOptions(parts=frozenset({Part.S3})), layout)
    (child,) = composition.items
    assert isinstance(child, ChildSpec)
    options = dict(option.split("=") for option in child.command if "=" in option)
    assert int(options["-admin.port.grpc"]) == int(options["-admin.port"]) + 10_000


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.holder() is None
    first.acquire()
    with pytest.raises(AlreadyRunning, match="already running"):
        second.acquire()
    assert second.holder() is not None
    first.release()
    assert second.holder() is None
    second.acquire()
    second.release()


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_privately(path, {"a": 1})
    before = path.stat().st_ino
    write_privately(path, {"a": 2})
    assert path.stat().st_ino != before
    assert [file.name for file in tmp_path.iterdir()] == ["file.json"]


def test_logs_do_not_grow_without_bound(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old line\n" * 100)
        rotate(tmp_path, largest_bytes=500)
        writer.write(b"new line\n")
    assert log.read_bytes() == b"new line\n"
    assert (tmp_path / "child.log.1").read_bytes().startswith(b"old line\n")
    assert last_lines(log) == "new line"
    assert last_lines(tmp_path / "other.log") == ""


def test_a_machine_that_lacks_something_gets_one_sentence(tmp_path: Path) -> None:
    check_machine(tmp_path / "not" / "yet", memory_mb=1, disk_mb=1)
    with pytest.raises(Unfit, match=r"MB of memory .* end some other programs\.$"):
        check_machine(tmp_path, memory_mb=1_000_000_000)
    with pytest.raises(Unfit, match=r"MB of disk .* another disk\.$"):
        check_machine(tmp_path, disk_mb=1_000_000_000)


def test_an_old_python_gets_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.version_info", (3, 10, 4, "final", 0))
    with pytest.raises(Unfit, match=r"needs Python 3\.11 or 3\.12, and this is 3\.10: install one"):
        check_machine(tmp_path)


def test_available_memory_is_read_in_megabytes(tmp_path: Path) -> None:
    source = tmp_path / "meminfo"
    source.write_text("MemTotal:  2048 kB\nMemAvailable:    3145728 kB\n")
    assert available_memory_mb(source) == 3072


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"brokers": 2}, "1 broker or 3"),
        ({"partitions": 0}, "at least 1"),
        ({"flow_processes": {"payment": 2}}, "no flow payment"),
        ({"settlement_cut_off": "17:00"}, "HH:MM@ZONE"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(StackError, match=sentence):
        StackOptions(**wrong)  # type: ignore[arg-type]


def test_processes_are_named_after_what_they_run() -> None:
    options = StackOptions(flow_processes={"payments": 2}, ingress_processes=2)
    assert {process.name: process.instance for process in service_processes(options)} == {
        "ingress": 0,
        "ingress-2": 1,
        "flow-payments": 0,
        "flow-payments-2": 1,
        **{f"flow-{flow}": 0 for flow in FLOWS if flow != "payments"},
    }


def test_the_whole_stack_is_composed_with_all_addresses(layout: Layout) -> None:
    options = StackOptions(directory=layout.directory, brokers=3, ingress_processes=2, environment={"EXTRA": "1"})
    composition = compose(options, layout)
    items = {item.name: item for item in composition.items}
    assert {"topics", "migrations", "database"} < items["ingress"].after
    assert items["flow-payments"].environment["EXTRA"] == "1"
    assert items["flow-payments"].environment["PAYSTREAM_REPLICATION_FACTOR"] == "3"
    assert items["ingress-2"].environment["PAYSTREAM_INSTANCE"] == "1"
    description = composition.addresses.describe({"kafka-1": 1})
    assert description["ingress_processes"][0] == description["ingress"]
    assert set(description) >= {"ingress", "card_network", "s3", "kafka", "postgres", "api_key", "processes"}
    assert description["kafka"].count(",") == 2


def test_the_card_network_has_a_port_for_each_protocol(layout: Layout) -> None:
    options = StackOptions(directory=layout.directory, parts=frozenset({Part.CARD_NETWORK}), proxied=True)
    composition = compose(options, layout)
    proxy, network = composition.items
    assert isinstance(proxy, ChildSpec)
    assert isinstance(network, ChildSpec)
    address = composition.addresses.describe({})["card_network_iso8583"]
    assert network.command[network.command.index("--iso-port") + 1] == address.removeprefix("127.0.0.1:")
    links = dict(argument.split("=") for argument in proxy.command if "=" in argument)
    assert links.keys() == {"card-network", "card-network-iso"}
    assert links["card-network-iso"].endswith(address.removeprefix("127.0.0.1"))


@pytest.mark.parametrize("proxied", [False, True])
def test_those_who_call_by_iso8583_are_told_where(layout: Layout, proxied: bool) -> None:
    options = StackOptions(directory=layout.directory, proxied=proxied, ingress_processes=2)
    composition = compose(options, layout)
    told = {
        item.name: item.environment["PAYSTREAM_ISO8583_ADDRESS"]
        for item in composition.items
        if "PAYSTREAM_ISO8583_ADDRESS" in item.environment
    }
    assert told.keys() == {"ingress", "ingress-2", "flow-processing", "flow-reconciliation"}
    (address,) = set(told.values())
    assert (address == composition.addresses.card_network_iso8583) is not proxied


def test_the_network_and_settlement_are_told_one_cut_off(layout: Layout) -> None:
    compositions = [
        compose(StackOptions(directory=layout.directory, settlement_cut_off=cut_off), layout)
        for cut_off in (None, "17:30@America/New_York")
    ]
    without, told = ({item.name: item for item in composition.items} for composition in compositions)
    assert "PAYSTREAM_SETTLEMENT_CUT_OFFS" not in without["flow-settlement"].environment
    network = told["card-network"]
    assert isinstance(network, ChildSpec)
    assert " ".join(network.command).endswith("--settlement-cut-off 17:30 --settlement-time-zone America/New_York")
    settings = load(told["flow-settlement"].environment, required=())
    expected = (time(17, 30), ZoneInfo("America/New_York"))
    assert settings["settlement_cut_offs"] == {"cardnet": expected, "isonet": expected}


def test_services_stop_before_what_they_depend_on(layout: Layout) -> None:
    children = [item for item in compose(StackOptions(), layout).items if hasattr(item, "stop_stage")]
    stages = {child.name: child.stop_stage for child in children}
    assert stages["flow-payments"] == stages["ingress"] == StopStage.SERVICES
    assert stages["ingress"] < stages["card-network"] <= stages["s3"] < stages["postgres"] < stages["kafka"]


def test_the_number_of_brokers_is_for_the_life_of_the_directory(layout: Layout) -> None:
    compose(StackOptions(parts=frozenset({Part.KAFKA})), layout)
    (layout.directory / "kafka.formatted").touch()
    with pytest.raises(StackError, match="start it with --brokers 1"):
        compose(StackOptions(parts=frozenset({Part.KAFKA}), brokers=3), layout)


def test_a_part_alone_has_no_address_of_others(layout: Layout) -> None:
    composition = compose(StackOptions(parts=frozenset({Part.S3})), layout)
    assert [item.name for item in composition.items] == ["s3"]
    assert not {"kafka", "postgres", "ingress"} & composition.addresses.describe({}).keys()


def test_the_printed_commands_fit_together(tmp_path: Path) -> None:
    answer = tmp_path / "pay ment.json"
    commands = [line for line in example("http://127.0.0.1:1", "KEY", answer=answer).splitlines() if line[0] != "#"]
    assert len(commands) == 3
    assert all(command.startswith("curl ") for command in commands)
    assert shlex.split(commands[0])[-1] == str(answer)
    assert all(str(answer) in command for command in commands[1:])
    assert "Prefer: wait=10" in commands[1]
