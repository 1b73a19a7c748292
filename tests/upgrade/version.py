"""A version of Paystream: a tree of its sources, and the settings that it knows.

The old one is taken out of this repository's history; the new one is the tree in which the tests lie.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BASE", "NotInHistory", "Version", "base_commit", "extract"]

ROOT = Path(__file__).parents[2]
BASE = Path(__file__).with_name("BASE")
LAUNCHER = Path(__file__).with_name("launch.py")
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


class NotInHistory(RuntimeError):
    """The old version cannot be had here, most likely because the history was cloned only in part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The sources of one version."""

    name: str
    tree: Path

    def command(self, *arguments: str) -> tuple[str, ...]:
        """`paystream ARGUMENT…` of this version; `-P`, since the launcher's own folder is nobody's package."""
        return (sys.executable, "-P", str(LAUNCHER), str(self.tree), *arguments)

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """These settings, as far as this version knows them: it refuses others, so they come with the version."""
        known = self.settings()
        chosen = {name: value for name, value in settings.items() if name in known}
        return {**chosen, "PYTHONPATH": str(self.tree), "PYTHONUNBUFFERED": "1"}

    def settings(self) -> frozenset[str]:
        """The names of the settings, as this version lists them for its README."""
        listed = subprocess.run(
            [sys.executable, "-m", "paystream.settings"],
            cwd=self.tree,
            env={**os.environ, "PYTHONPATH": str(self.tree)},
            capture_output=True,
            text=True,
            check=True,
        )
        return frozenset(re.findall(r"^\| `(PAYSTREAM_[A-Z_]+)`", listed.stdout, re.MULTILINE))


def base_commit() -> str:
    """The commit that BASE names; lines that begin with # are comments."""
    lines = [line for line in BASE.read_text().splitlines() if line and not line.startswith("#")]
    if len(lines) != 1 or not _COMMIT.fullmatch(lines[0]):
        raise ValueError(f"{BASE} has to name one commit in full, beside comments, and says {lines}")
    return lines[0]


def extract(commit: str, directory: Path, *, repository: Path = ROOT) -> Version:
    """Put the tree of a commit into an empty directory; raises NotInHistory."""
    archive = subprocess.run(
        ["git", "-C", str(repository), "archive", "--format=tar", commit], capture_output=True, check=False
    )
    if archive.returncode != 0:
        raise NotInHistory(
            f"{repository} cannot give the old version {commit}, which {BASE} names. A shallow clone has to be"
            f" completed first (git fetch --unshallow). git says: {archive.stderr.decode(errors='replace').strip()}"
        )
    subprocess.run(["tar", "-x", "-C", str(directory)], input=archive.stdout, check=True)
    return Version(name=commit[:7], tree=directory.resolve())
