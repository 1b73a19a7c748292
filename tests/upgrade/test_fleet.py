"""How an ingress process is replaced: nobody knows its address any more once it is told to end."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.stack.ports import choose_ports
from tests.upgrade import fleet
from tests.upgrade.fleet import Fleet, Member
from tests.upgrade.version import Version

# Is ready, and notes what the load balancer knew when it was told to end, and for how long already.
PROCESS = """
import http.server, os, pathlib, signal, sys, time
addresses, noted = map(pathlib.Path, sys.argv[1:])

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

def end(*_):
    noted.write_text(f"{time.time() - addresses.stat().st_mtime} {addresses.read_text()}")
    os._exit(0)

signal.signal(signal.SIGTERM, end)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PAYSTREAM_HTTP_PORT"])), Ready).serve_forever()
"""
NOTICED_SECONDS = 0.3


class Script(Version):
    """A version whose processes are that one; its tree is where they leave their notes."""

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-c", PROCESS, str(self.tree / "addresses.json"), str(self.tree / arguments[-1]))

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        return {}


def test_an_ingress_process_is_taken_out_before_it_is_told_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_NOTICED_WITHIN_SECONDS", NOTICED_SECONDS)
    version = Script(name="script", tree=tmp_path)
    ports = choose_ports(["ingress-0", "ingress-1", "postgres"], tmp_path / "ports.json")
    arguments = {"ingress-0": ("ingress",), "ingress-1": ("ingress",), "postgres": ("flow", "postgres")}
    members = [
        Member(name=name, arguments=arguments[name], instance=number, port=ports[name])
        for number, name in enumerate(ports)
    ]
    urls = {member.name: member.url for member in members}
    both = [urls["ingress-0"], urls["ingress-1"]]
    processes = Fleet(members, {}, tmp_path, api_key="key")
    try:
        processes.start_all(version)
        assert json.loads(processes.addresses.read_text())["ingress_processes"] == both
        processes.replace("ingress-0", version)
        seconds, known = (tmp_path / "ingress").read_text().split(maxsplit=1)
        assert json.loads(known)["ingress_processes"] == [urls["ingress-1"]]
        assert float(seconds) >= NOTICED_SECONDS
        assert json.loads(processes.addresses.read_text())["ingress_processes"] == both
        processes.replace("postgres", version)
        assert json.loads((tmp_path / "postgres").read_text().split(maxsplit=1)[1])["ingress_processes"] == both
    finally:
        processes.end()
