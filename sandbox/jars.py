"""Kafka's jars: fetched by jgo's resolver (Python; it needs neither Java nor Maven) and checked against the lock file.

`python -m sandbox.jars` fetches what `jgo.toml` names into `.jgo/` and compares every jar with the sha256 in
`jgo.lock.toml`; `--lock` writes that file anew. Driven by the Makefile; `classpath` is for `kafka`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from sandbox.stack.errors import StackError, Unfit

__all__ = ["REPOSITORY", "classpath", "fetch", "verify", "write_lock"]

REPOSITORY = Path(__file__).resolve().parents[1]
TRIES = 3


def classpath(repository: Path = REPOSITORY) -> str:
    """The class path of all jars (the one of every Kafka tool)."""
    if not jars_in(repository):
        raise Unfit("Kafka's jars are missing from .jgo/: run `make setup`.")
    return f"{repository}/.jgo/jars/*:{repository}/.jgo/modules/*"


def jars_in(repository: Path) -> dict[str, Path]:
    """The jars in `.jgo`, by file name."""
    return {path.name: path for folder in ("jars", "modules") for path in (repository / ".jgo" / folder).glob("*.jar")}


def fetch(repository: Path = REPOSITORY) -> None:
    """Bring the jars to this machine; what is cached in the local Maven folder is linked."""
    for attempt in range(1, TRIES + 1):
        answer = _jgo("sync", repository)
        if answer.returncode == 0:
            return
        print(f"fetching Kafka's jars failed, attempt {attempt} of {TRIES}", file=sys.stderr)
    raise StackError(
        f"Kafka's jars could not be fetched; is Maven Central reachable? jgo said: {answer.stdout[-2000:]}"
    )


def write_lock(repository: Path = REPOSITORY) -> None:
    """Resolve `jgo.toml` and write `jgo.lock.toml`."""
    answer = _jgo("lock", repository)
    if answer.returncode != 0:
        raise StackError(f"jgo.toml could not be resolved: {answer.stdout[-2000:]}")


def verify(repository: Path = REPOSITORY) -> int:
    """Compare the jars with the lock, both ways, and return how many there are."""
    lock = tomllib.loads((repository / "jgo.lock.toml").read_text())
    expected = {_file_name(entry): entry["sha256"] for entry in lock["dependencies"]}
    found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in jars_in(repository).items()}
    if found != expected:
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise StackError(
            f"These jars in .jgo/ are not those of jgo.lock.toml: {', '.join(different)}; remove .jgo/ and their "
            "folders in ~/.m2/repository and run make again."
        )
    return len(found)


def _file_name(entry: dict[str, str]) -> str:
    classifier = f"-{entry['classifier']}" if entry.get("classifier") else ""
    return f"{entry['artifactId']}-{entry['version']}{classifier}.{entry['packaging']}"


def _jgo(command: str, repository: Path) -> subprocess.CompletedProcess[str]:
    # jgo would sort jars into two folders with the `jar` tool of a JDK that it finds or downloads (200 MB). We put both
    # folders on the class path, so it is shown no JDK, and an index address where nobody answers.
    programs = Path(sys.executable).parent
    environment = {key: value for key, value in os.environ.items() if key != "JAVA_HOME"}
    environment |= {"PATH": str(programs), "CJDK_INDEX_URL": "https://127.0.0.1:9/"}
    return subprocess.run(
        [programs / "jgo", command],
        cwd=repository,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def main() -> None:
    """Command line of this module."""
    try:
        if sys.argv[1:] == ["--lock"]:
            write_lock()
        fetch()
        print(f"{verify()} Kafka jars in .jgo/, each as jgo.lock.toml says")
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
