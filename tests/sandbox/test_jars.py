"""Kafka's jars against the lock file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sandbox.jars import classpath, jars_in, verify
from sandbox.stack.errors import StackError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose lock names one jar, which is there."""
    content = b"a jar"
    (tmp_path / ".jgo" / "modules").mkdir(parents=True)
    (tmp_path / ".jgo" / "modules" / "thing-1.0.jar").write_bytes(content)
    (tmp_path / "jgo.lock.toml").write_text(
        '[[dependencies]]\ngroupId = "g"\nartifactId = "thing"\nversion = "1.0"\npackaging = "jar"\n'
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
    )
    return tmp_path


def test_jars_as_locked_are_accepted(repository: Path) -> None:
    assert verify(repository) == 1
    assert classpath(repository).endswith("/.jgo/modules/*")


def test_a_changed_jar_is_refused(repository: Path) -> None:
    jars_in(repository)["thing-1.0.jar"].write_bytes(b"another jar")
    with pytest.raises(StackError, match=r"thing-1\.0\.jar"):
        verify(repository)


def test_a_missing_or_additional_jar_is_refused(repository: Path) -> None:
    jar = jars_in(repository)["thing-1.0.jar"]
    (jar.parent / "more-2.0.jar").write_bytes(b"")
    with pytest.raises(StackError, match=r"more-2\.0\.jar"):
        verify(repository)
    (jar.parent / "more-2.0.jar").unlink()
    jar.unlink()
    with pytest.raises(StackError, match=r"thing-1\.0\.jar"):
        verify(repository)


def test_without_jars_one_is_told_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="run `make setup`"):
        classpath(tmp_path)
