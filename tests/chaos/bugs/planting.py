"""Plants a bug into the production code that this process has loaded, and takes it out again.

A bug is a list of edits: a passage of a function as it stands in the source, and what stands there instead. The
function is compiled anew from its edited source and gets the new code in place, so that whoever holds the function has
the bug; production code needs no switch for it. A passage that is no longer there, or not there once, raises
`NoSuchPassage`: a bug that plants nothing would pass for one that nobody can see.
"""

from __future__ import annotations
import __future__

import contextlib
import importlib
import inspect
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

__all__ = ["VARIABLE", "Bug", "Constant", "Edit", "NoSuchPassage", "planted"]

VARIABLE = "PAYSTREAM_TEST_BUG"
"""The environment variable that names the bug to be planted at the start of a process."""

_DEEPEST = 32


class NoSuchPassage(LookupError):
    """What a bug replaces does not stand, or not once, where the bug says."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A passage of a function. `where` is `module:function` or `module:Class.function`; lines are dedented."""

    where: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A passage of texts that a module made when it was loaded; it has to stand in at least one of them."""

    where: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A deliberate bug, and what it does in one sentence."""

    name: str
    does: str
    edits: Sequence[Edit | Constant]

    def plant(self) -> contextlib.ExitStack:
        """Plant it; closing what is returned takes it out. Raises NoSuchPassage and leaves everything as it was."""
        by_function: defaultdict[str, list[Edit]] = defaultdict(list)
        for edit in self.edits:
            if isinstance(edit, Edit):
                by_function[edit.where].append(edit)
        with contextlib.ExitStack() as undo:
            for where, edits in by_function.items():
                undo.callback(_replace_code(where, edits))
            for constant in self.edits:
                if isinstance(constant, Constant):
                    undo.callback(_replace_texts(constant))
            return undo.pop_all()


@contextlib.contextmanager
def planted(bug: Bug | None) -> Iterator[None]:
    """With this bug in this process, or without any."""
    with contextlib.nullcontext() if bug is None else bug.plant():
        yield


def _replace_code(where: str, edits: Sequence[Edit]) -> Callable[[], None]:
    """Compile a function anew from its edited source; what takes that back."""
    function = inspect.unwrap(_found(where))
    if not isinstance(function, FunctionType):
        raise NoSuchPassage(f"{where} is no function")
    source = textwrap.dedent(inspect.getsource(function))
    for edit in edits:
        source = _edited(source, edit)
    former = function.__code__
    code = _compiled(source, function)
    if code.co_freevars != former.co_freevars:
        raise NoSuchPassage(f"{where} would close over {code.co_freevars}, not {former.co_freevars}")
    function.__code__ = code

    def undo() -> None:
        function.__code__ = former

    return undo


def _edited(source: str, edit: Edit) -> str:
    """The source with the passage replaced, whatever its indentation is."""
    before, after = (textwrap.dedent(text).strip("\n") for text in (edit.before, edit.after))
    found: list[tuple[int, str, str]] = []
    for depth in range(0, _DEEPEST, 4):
        margin = "\n" + " " * depth
        passage = before.replace("\n", margin)
        start = source.find(passage)
        while start >= 0:
            line = source[source.rfind("\n", 0, start) + 1 :]
            if len(line) - len(line.lstrip(" ")) == depth:
                found.append((start, passage, after.replace("\n", margin)))
            start = source.find(passage, start + 1)
    if len(found) != 1:
        raise NoSuchPassage(f"{edit.where} has {len(found)} times: {before}")
    ((start, passage, replacement),) = found
    return source[:start] + replacement + source[start + len(passage) :]


def _compiled(source: str, function: FunctionType) -> CodeType:
    flags = function.__code__.co_flags & __future__.annotations.compiler_flag
    module = compile(source, f"<{function.__qualname__} with a bug>", "exec", flags=flags, dont_inherit=True)
    (code,) = (one for one in module.co_consts if isinstance(one, CodeType) and one.co_name == function.__name__)
    return code


def _replace_texts(constant: Constant) -> Callable[[], None]:
    """Put another text, or tuple of texts, in a module; what takes that back."""
    module_name, _, name = constant.where.partition(":")
    module = importlib.import_module(module_name)
    former: str | tuple[str, ...] = _found(constant.where)
    texts = (former,) if isinstance(former, str) else former
    if not any(constant.before in text for text in texts):
        raise NoSuchPassage(f"{constant.where} does not have: {constant.before}")
    replaced = tuple(text.replace(constant.before, constant.after) for text in texts)
    setattr(module, name, replaced[0] if isinstance(former, str) else replaced)
    return lambda: setattr(module, name, former)


def _found(where: str) -> Any:
    """What stands under `module:name` or `module:Class.name`."""
    module, _, path = where.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        try:
            # Not by getattr: a method that is inherited from now on is another function.
            found = vars(found)[name]
        except KeyError:
            raise NoSuchPassage(f"there is no {where}") from None
    return found
