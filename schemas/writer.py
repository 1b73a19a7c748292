"""Records to Avro's binary encoding, by functions that are generated once from the schema.

The encoding of a record is that of its fields one after the other, so each record becomes one expression without
calls, and what is written again and again (identifiers, names, the moment of a decision) is looked up instead of made.
A PaymentIntent goes into its event, the changelog and the reply: the bytes of a frozen record are made once. What
comes out is held against another library's reading of it, and against bytes on record (`tests/schemas`).
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

__all__ = ["Write", "spelt_out", "writer"]

Write = Callable[[Any], bytes]
"""From a record to bytes. A value that breaks the schema raises whatever Python makes of it: a bug, not an input."""

K = TypeVar("K")

_LONGEST = 1 << 63
# So much is remembered of each kind; all of it is dropped when that is full, because what comes back comes soon.
_REMEMBERED_MAX = 16_384
_REMEMBERED_RECORDS_MAX = 4_096
_REMEMBERED_RECORD_BYTES_MAX = 2_048
_REMEMBERED_BYTES_MAX = 64

# In an event, in the state after it and in the reply; or in one state after the other.
_IN_SEVERAL_MESSAGES = ("PaymentIntent", "Transaction")


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


class _Remembering(dict[K, bytes]):
    """The bytes of a value, made when they are first asked for."""

    def __init__(self, branch: bytes) -> None:
        super().__init__()
        self._branch = branch
        """What is written before each: the branch of an optional value."""

    def _keep(self, value: K, data: bytes) -> bytes:
        if len(self) >= _REMEMBERED_MAX:
            self.clear()
        self[value] = data
        return data


class _Longs(_Remembering[int]):
    """A number of at most 64 bits, as a zig-zag varint; raises OverflowError."""

    def __missing__(self, value: int) -> bytes:
        if not -_LONGEST <= value < _LONGEST:
            raise OverflowError(f"{value} takes more than 64 bits")
        return self._keep(value, self._branch + _varint(2 * value if value >= 0 else -2 * value - 1))


_LONG = _Longs(b"")


class _Strings(_Remembering[str]):
    """A text, after its length in bytes."""

    def __missing__(self, value: str) -> bytes:
        text = value.encode()
        data = self._branch + _LONG[len(text)] + text
        return self._keep(value, data) if len(text) <= _REMEMBERED_BYTES_MAX else data


class _Bytes(_Remembering[bytes]):
    """Bytes, after their number."""

    def __missing__(self, value: bytes) -> bytes:
        data = self._branch + _LONG[len(value)] + value
        return self._keep(value, data) if len(value) <= _REMEMBERED_BYTES_MAX else data


def _booleans(branch: bytes) -> Mapping[bool, bytes]:
    return {False: branch + b"\x00", True: branch + b"\x01"}


_PRIMITIVES: Mapping[str, Callable[[bytes], Mapping[Any, bytes]]] = {
    "boolean": _booleans,
    "int": _Longs,
    "long": _Longs,
    "bytes": _Bytes,
    "string": _Strings,
}
_SHARED = {name: make(b"") for name, make in _PRIMITIVES.items()}
_SHARED_OPTIONAL = {name: make(b"\x02") for name, make in _PRIMITIVES.items()}
_NULL = b"\x00"
_END = b"\x00"


def writer(schema: Mapping[str, Any]) -> Write:
    """The function that writes a record under a schema in which every named type is defined where it is met first."""
    return _record(json.dumps(spelt_out(schema)))


def spelt_out(schema: Any, named: dict[str, Any] | None = None) -> Any:
    """The schema with each reference replaced by what it refers to, so that equal types are equal texts."""
    named = {} if named is None else named
    if isinstance(schema, str):
        return named.get(schema, schema)
    if isinstance(schema, list):
        return [spelt_out(branch, named) for branch in schema]
    whole = dict(schema)
    for inner in ("items", "values"):
        if inner in whole:
            whole[inner] = spelt_out(whole[inner], named)
    if "fields" in whole:
        whole["fields"] = [{**field, "type": spelt_out(field["type"], named)} for field in whole["fields"]]
    if "name" in whole:
        named[f"{whole['namespace']}.{whole['name']}"] = whole
    return whole


@cache
def _record(text: str) -> Write:
    """The function of a record type, one for all messages that hold it."""
    schema = json.loads(text)
    names: dict[str, Any] = {"join": b"".join, "null": _NULL}
    parts = [_expression(field["type"], f"r.{field['name']}", names) for field in schema["fields"]]
    write = typing.cast("Write", eval(f"lambda r: join(({', '.join(parts)},))", names))
    return _once(write) if schema["name"] in _IN_SEVERAL_MESSAGES else write


def _expression(schema: Any, value: str, names: dict[str, Any]) -> str:
    """The expression for the bytes of `value`; what it refers to goes into `names`."""
    if isinstance(schema, list) and len(schema) == 2 and schema[0] == "null":
        known = _known(schema[1], _SHARED_OPTIONAL, b"\x02")
        some = f"{_name(known, names)}[v]" if known is not None else f"b'\\x02' + {_call(schema[1], 'v', names)}"
        return f"null if (v := {value}) is None else {some}"
    known = _known(schema, _SHARED, b"")
    return f"{_name(known, names)}[{value}]" if known is not None else _call(schema, value, names)


def _known(schema: Any, primitives: Mapping[str, Mapping[Any, bytes]], branch: bytes) -> Mapping[Any, bytes] | None:
    """A mapping from values to bytes, for all but records, arrays, maps and unions."""
    kind = schema if isinstance(schema, str) else schema["type"] if isinstance(schema, dict) else ""
    if kind == "enum":
        return {symbol: branch + _LONG[number] for number, symbol in enumerate(schema["symbols"])}
    return primitives.get(kind)


def _call(schema: Any, value: str, names: dict[str, Any]) -> str:
    if isinstance(schema, list):
        write = _union(schema)
    elif schema["type"] == "record":
        write = _record(json.dumps(schema))
    else:
        write = _array(schema["items"]) if schema["type"] == "array" else _map(schema["values"])
    return f"{_name(write, names)}({value})"


def _name(thing: Any, names: dict[str, Any]) -> str:
    name = f"x{len(names)}"
    names[name] = thing
    return name


def _once(write: Write) -> Write:
    """Records are frozen, so the bytes of the same one are the same. What is kept here keeps its identity."""
    made: dict[int, tuple[Any, bytes]] = {}

    def written(record: Any) -> bytes:
        known = made.get(id(record))
        if known is not None:
            return known[1]
        data = write(record)
        if len(data) > _REMEMBERED_RECORD_BYTES_MAX:
            return data
        if len(made) >= _REMEMBERED_RECORDS_MAX:
            made.clear()
        made[id(record)] = record, data
        return data

    return written


def _union(branches: list[Any]) -> Write:
    """Records, by the name of their class."""
    writes = {branch["name"]: (_LONG[number], _record(json.dumps(branch))) for number, branch in enumerate(branches)}

    def write(value: Any) -> bytes:
        index, branch = writes[type(value).__name__]
        return index + branch(value)

    return write


def _array(item: Any) -> Write:
    """One block of items, and the end."""
    names: dict[str, Any] = {"null": _NULL}
    each = typing.cast("Write", eval(f"lambda v: {_expression(item, 'v', names)}", names))

    def write(values: tuple[Any, ...]) -> bytes:
        return b"".join((_LONG[len(values)], *map(each, values), _END)) if values else _END

    return write


def _map(member: Any) -> Write:
    """One block of pairs, and the end."""
    names: dict[str, Any] = {"s": _SHARED["string"], "null": _NULL}
    pairs = typing.cast(
        "Callable[[Any], list[bytes]]",
        eval(f"lambda m: [s[k] + {_expression(member, 'v', names)} for k, v in m.items()]", names),
    )

    def write(values: Mapping[str, Any]) -> bytes:
        return b"".join((_LONG[len(values)], *pairs(values), _END)) if values else _END

    return write
