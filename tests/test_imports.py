"""Who may import whom (DESIGN section 2), read off the source."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("bench", "ingress", "paystream", "sandbox", "schemas", "sinks", "topology")

ALLOWED = {
    "schemas": set[str](),
    "ingress": {"schemas", "sinks.postgres"},
    "topology.domain": {"schemas"},
    "topology": {"schemas", "sinks"},
    "sinks": {"schemas"},
    "paystream": {"schemas", "ingress", "topology", "sinks", "sandbox"},
    "sandbox": {"schemas", "ingress", "topology", "sinks", "paystream"},
    "bench": {"schemas", "ingress", "topology", "sinks", "paystream", "sandbox"},
}
FORBIDDEN_LIBRARIES = {
    "topology.domain": {"bytewax", "confluent_kafka", "time", "random", "logging", "asyncio", "datetime"},
    "sinks": {"bytewax", "confluent_kafka"},
    "schemas": {"bytewax", "confluent_kafka", "psycopg", "starlette", "time", "random"},
    "ingress": {"bytewax"},
}

# Beside the standard library; msgspec is more than DESIGN section 2 says (docs/decisions/005).
LIBRARIES_OF_SCHEMAS = {"cavro", "fastavro", "msgspec"}


def imports(path: Path) -> set[str]:
    """The modules that a file imports, absolute."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def files(package: str) -> list[Path]:
    """The Python files of a package, without those of packages that have a rule of their own."""
    inner = [other for other in ALLOWED if other.startswith(f"{package}.")]
    paths = (ROOT / package.replace(".", "/")).rglob("*.py")
    return [
        p for p in paths if not any(str(p).startswith(str(ROOT / other.replace(".", "/")) + "/") for other in inner)
    ]


def within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_they_may(package: str) -> None:
    assert files(package)
    for path in files(package):
        for module in imports(path):
            if module.split(".")[0] in OURS and not within(module, {package}):
                # `from sinks import postgres` names both the package and what is taken from it.
                assert within(module, ALLOWED[package]) or any(a.startswith(module) for a in ALLOWED[package]), (
                    f"{path.relative_to(ROOT)} imports {module}"
                )


@pytest.mark.parametrize("package", FORBIDDEN_LIBRARIES)
def test_packages_stay_clear_of_libraries(package: str) -> None:
    for path in files(package):
        for module in imports(path):
            assert not within(module, FORBIDDEN_LIBRARIES[package]), f"{path.relative_to(ROOT)} imports {module}"


def test_schemas_need_few_libraries() -> None:
    known = {"schemas", *LIBRARIES_OF_SCHEMAS, *sys.stdlib_module_names}
    for path in files("schemas"):
        for module in imports(path):
            assert module.split(".")[0] in known, f"{path.relative_to(ROOT)} imports {module}"


def test_files_fit_in_the_head() -> None:
    """About 300 lines, 400 at most."""
    long = {
        str(path.relative_to(ROOT)): lines
        for package in (*OURS, "tests")
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long
