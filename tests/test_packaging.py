"""What is installed: the lock files hold all that is imported, and the installation says nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.test_imports import OURS, ROOT, imports

PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)
INSTALLED = [package for package in OURS if package != "bench"]


def pins(lock: str) -> dict[str, str]:
    """The versions in a lock file, by distribution."""
    return dict(PIN.findall((ROOT / lock).read_text()))


def test_the_demo_has_all_that_its_code_imports() -> None:
    paths = [path for package in INSTALLED for path in (ROOT / package).rglob("*.py")]
    modules = {module.split(".")[0] for path in paths for module in imports(path)}
    foreign = modules - set(sys.stdlib_module_names) - set(OURS)
    assert len(foreign) > 10
    of_module = packages_distributions()
    distributions = {re.sub(r"[-_.]+", "-", name).lower() for module in foreign for name in of_module[module]}
    assert distributions - set(pins("requirements.lock")) == set()


def test_the_packages_for_tests_contain_those_of_the_demo() -> None:
    assert pins("requirements.lock").items() < pins("requirements-dev.lock").items()


def test_an_editable_install_warns_of_nothing(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    for name in INSTALLED:
        (project / name).symlink_to(ROOT / name)
    build = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", build, str(tmp_path)], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.whl"))) == 1
