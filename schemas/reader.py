"""Avro's binary encoding to records, by functions that are generated once from the schema.

The schema is the one that wrote the message, which may be older or newer than the class: a field that the class
lacks is dropped, one that the schema lacks has the class's default. More may not differ (`compatibility`).

Each record becomes one function without calls for what is common: short texts, small numbers, absent values. Driven by
`codec`, which takes whatever Python raises here for a message that is none: an index out of range, a value that is in
no table, a text that is no UTF-8. What is cut short by the end of the message is noticed by the position after the last
field, which is then beyond it.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import fields

from schemas.writer import spelt_out

__all__ = ["Read", "reader"]

Read = Callable[[bytes, int], tuple[Any, int]]
"""From a message and a position in it to a record and the position after it."""

_LONGEST = 1 << 64
# From so many on it takes longer to read a record than to compare its bytes with those of the last one.
_MANY_FIELDS = 8


def reader(schema: Mapping[str, Any], classes: Mapping[str, type[Any]]) -> Read:
    """The function that reads a record into the class of its name, enums into theirs.

    The schema has every named type defined where it is met first; union branches, enums aside, are told by their names.
    """
    return _Reader(classes).record(spelt_out(schema))


def _more(data: bytes, at: int) -> tuple[int, int]:
    """The number (not negative, before zig-zag) of a varint, and the position after it; raises ValueError."""
    number = 0
    # 64 bits are ten bytes at most. Whoever went on through a longer run of them would be busy for minutes.
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128 and number < _LONGEST:
            return number, at
        if byte < 128:
            break
    raise ValueError("a number of more than 64 bits")


def _size(data: bytes, at: int) -> tuple[int, int]:
    """A length that takes more than a byte; raises ValueError for one below zero."""
    number, at = _more(data, at)
    if number & 1:
        raise ValueError("a length below zero")
    return number >> 1, at


def _block(data: bytes, at: int) -> tuple[int, int]:
    """How many items follow; a count below zero comes with the block's size, which is of no use here."""
    number, at = _more(data, at)
    if number & 1:
        _bytes, at = _more(data, at)
        return (number + 1) >> 1, at
    return number >> 1, at


_BOOLEANS = {0: False, 1: True}

# Statements that read into {v} from d at i, and move i.
_LONG = """
n = d[i]
if n > 127: n, i = more(d, i)
else: i += 1
{v} = n >> 1 ^ -(n & 1)
"""
_SIZE = """
n = d[i]
if n & 129: n, i = size(d, i)
else:
    n >>= 1
    i += 1
j = i + n
"""
_STATEMENTS = {
    "long": _LONG,
    "int": _LONG,
    "string": _SIZE + "{v} = d[i:j].decode()\ni = j\n",
    "bytes": _SIZE + "{v} = d[i:j]\ni = j\n",
    "boolean": "{v} = booleans[d[i]]\ni += 1\n",
}


class _Reader:
    """Generates the functions of one schema."""

    def __init__(self, classes: Mapping[str, type[Any]]) -> None:
        self._classes = classes
        self._remembering: dict[str, Read] = {}

    def record(self, schema: Mapping[str, Any]) -> Read:
        """The function of a record."""
        names = self._names()
        names["cls"] = cls = self._classes[schema["name"]]
        known = {field.name for field in fields(cls)}
        lines: list[str] = []
        for number, field in enumerate(schema["fields"]):
            lines += self._statements(field["type"], f"f{number}", names)
        arguments = ", ".join(
            f"{field['name']}=f{number}" for number, field in enumerate(schema["fields"]) if field["name"] in known
        )
        return self._function([*lines, f"return cls({arguments}), i"], names)

    def _statements(self, schema: Any, variable: str, names: dict[str, Any]) -> list[str]:
        """The lines that read a value into a variable."""
        if isinstance(schema, list) and len(schema) == 2 and schema[0] == "null":
            inner = self._statements(schema[1], variable, names)
            # The branch is 0 or 1; of anything else there is no entry.
            return [
                f"if branches[d[i]]:\n i += 1\n{_indented(inner)}",
                f"else:\n i += 1\n {variable} = None",
            ]
        kind = schema if isinstance(schema, str) else schema["type"] if isinstance(schema, dict) else "union"
        if kind in _STATEMENTS:
            return [_STATEMENTS[kind].format(v=variable).strip()]
        if kind == "enum":
            members = self._classes[schema["name"]].__members__
            symbols = {2 * number: members[symbol] for number, symbol in enumerate(schema["symbols"])}
            return [f"{variable} = {_name(symbols, names)}[d[i]]", "i += 1"]
        makers: dict[str, Callable[[Any], Read]] = {
            "record": self.record,
            "union": self._union,
            "array": self._array,
            "map": self._map,
        }
        if kind == "record" and len(schema["fields"]) >= _MANY_FIELDS:
            # One for all places in a message, for that is where it says a thing twice.
            name = schema["name"]
            read = self._remembering.get(name) or self._remembering.setdefault(name, _remembering(self.record(schema)))
        else:
            read = makers[kind](schema)
        return [f"{variable}, i = {_name(read, names)}(d, i)"]

    def _union(self, branches: list[Any]) -> Read:
        names = self._names()
        reads = _name({2 * number: self.record(branch) for number, branch in enumerate(branches)}, names)
        return self._function([f"return {reads}[d[i]](d, i + 1)"], names)

    def _array(self, schema: Mapping[str, Any]) -> Read:
        names = self._names()
        inner = self._statements(schema["items"], "item", names)
        return self._blocks(inner, "items.append(item)", empty="()", whole="tuple(items)", start="[]", names=names)

    def _map(self, schema: Mapping[str, Any]) -> Read:
        names = self._names()
        inner = [*self._statements("string", "key", names), *self._statements(schema["values"], "item", names)]
        return self._blocks(inner, "items[key] = item", empty="{}", whole="items", start="{}", names=names)

    def _blocks(
        self, inner: list[str], keep: str, *, empty: str, whole: str, start: str, names: dict[str, Any]
    ) -> Read:
        lines = [
            f"if d[i] == 0:\n return {empty}, i + 1",
            f"items = {start}",
            f"while d[i]:\n count, i = block(d, i)\n for _ in range(count):\n{_indented([*inner, keep], by=2)}",
            f"return {whole}, i + 1",
        ]
        return self._function(lines, names)

    def _names(self) -> dict[str, Any]:
        return {"more": _more, "size": _size, "block": _block, "booleans": _BOOLEANS, "branches": {0: False, 2: True}}

    def _function(self, lines: list[str], names: dict[str, Any]) -> Read:
        exec(f"def read(d, i):\n{_indented(lines)}", names)
        return typing.cast("Read", names["read"])


def _remembering(read: Read) -> Read:
    """The same, but what was read last is not read again where the message says it once more.

    An encoding is no beginning of another one, so whatever begins with these bytes is this record. Records do not
    change, so one may stand in two places. Used on several threads: what is remembered is one object.
    """
    known: tuple[bytes, Any] | None = None

    def again(data: bytes, at: int) -> tuple[Any, int]:
        nonlocal known
        last = known
        if last is not None and data.startswith(last[0], at):
            return last[1], at + len(last[0])
        record, end = read(data, at)
        known = data[at:end], record
        return record, end

    return again


def _indented(lines: list[str], *, by: int = 1) -> str:
    return "\n".join(" " * by + line for block in lines for line in block.splitlines())


def _name(thing: Any, names: dict[str, Any]) -> str:
    name = f"x{len(names)}"
    names[name] = thing
    return name
