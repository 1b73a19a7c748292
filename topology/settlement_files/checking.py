"""Checks a settlement file whole: every value, the order, the numbering, the totals, the trailer.

Pure but for the stream that it reads. A file with anything wrong in it is refused whole, with what is wrong and where;
nothing of its content is repeated. What a file may say is the same in every format.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from schemas.bounds import AMOUNT_MINOR_MAX
from schemas.times import Micros
from topology.settlement_files.port import MISSING, Header, Item, Malformed, Row, SettlementFormat, Total, Trailer
from topology.settlement_files.repetitions import Repetitions
from topology.settlement_files.values import Invalid, currency, days, moment

__all__ = ["PROBLEMS_MAX", "CheckedFile", "Checking", "FileRefused", "Line"]

PROBLEMS_MAX: Final = 100
"""So many problems of a file are told; of a file that has more, how many it has."""

_SEQUENCE_MAX = 2**62
# Of each line with a reference some bytes are kept in memory, and of each kind.
_LINE_NUMBER_MAX = 20_000_000
_KINDS_MAX = 64
_PROCESSOR = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_REFERENCE = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_KIND = re.compile(r"[a-z][a-z_]{0,31}", re.ASCII)
_CAPTURE = "capture"


class Line(NamedTuple):
    """One line, as it is to be. Amounts are minor units, the time is microseconds since the epoch."""

    number: int
    processor_reference: str
    reference: str | None
    kind: str
    amount_minor: int
    currency: str
    fee_minor: int | None
    net_minor: int | None
    payout_currency: str | None
    booked_at: Micros | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A file in which nothing is wrong. `settlement_date` is days since the epoch, as Avro has it.

    `repeated_references` is how many lines capture what another line captured: no fault of form, but worth a look.
    """

    processor: str
    file_sequence: int
    settlement_date: int
    lines: int
    kinds: dict[str, int]
    repeated_references: int


class FileRefused(ValueError):
    """What is wrong with a file: sentences that begin with the place, the first PROBLEMS_MAX of `count`.

    A file that is too long as a whole has no place.
    """

    def __init__(self, problems: list[str], *, count: int) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.count = count


class Checking:
    """One pass over one file: `lines` yields each line that is right, `checked` says what the file was, or refuses.

    Whose file it is stands in the attributes before the first line comes.
    """

    def __init__(self, form: SettlementFormat) -> None:
        self._form = form
        self._whole = form.whole
        self._problems: list[str] = []
        self._count = 0
        self._header: Header | None = None
        self.processor = ""
        self.file_sequence = 0
        self.settlement_date = 0
        self._trailer: Trailer | None = None
        self._place = 0
        self._number = 0
        self._is_lost = False
        """Whether the line before could not be read, so that any number may be next."""
        self._sums: dict[str, list[int]] = {}
        self._kinds: Counter[str] = Counter()
        self._references = Repetitions()
        self._is_untold = False
        """Whether a line was wrong: what the lines add up to is then wrong as well, and need not be told."""

    @property
    def is_refused(self) -> bool:
        """Whether something is wrong already: then `checked` will refuse, and its lines are for nothing."""
        return self._count > 0

    def lines(self, stream: BinaryIO) -> Iterator[Line]:
        """Every line that is right, in the file's order."""
        for item in self._form.items(stream):
            self._place = item.place
            if isinstance(item, Row):
                line = self._row(item)
                if line is not None:
                    yield line
            else:
                self._other(item)

    def checked(self) -> CheckedFile:
        """What the file was, after its last line. Raises FileRefused."""
        if self._header is None and self._place == 0 and not self._count:
            self._wrong(1, "is empty, or its format does not begin so")
        elif self._trailer is None:
            self._wrong(self._place, "is the last, and there was no trailer: the file is cut short")
        if self._count:
            raise FileRefused(self._problems, count=self._count)
        return CheckedFile(
            processor=self.processor,
            file_sequence=self.file_sequence,
            settlement_date=self.settlement_date,
            lines=self._number,
            kinds=dict(self._kinds),
            repeated_references=self._references.repeated(),
        )

    def _wrong(self, place: int, reason: str) -> None:
        self._count += 1
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(f"line {place} {reason}.")

    def _other(self, item: Item) -> None:
        try:
            self._check_order(item)
            match item:
                case Malformed():
                    self._is_untold = self._is_lost = True
                    self._wrong(item.place, item.reason)
                case Header():
                    self._take_header(item)
                case Total():
                    self._check_total(item)
                case Trailer():
                    self._check_trailer(item)
        except Invalid as invalid:
            self._wrong(item.place, str(invalid))

    def _check_order(self, item: Item) -> None:
        if isinstance(item, Malformed):
            return
        if self._trailer is not None:
            raise Invalid("comes after the trailer")
        if isinstance(item, Header):
            if self._header is not None:
                raise Invalid("is a second header")
        elif self._header is None:
            self._header = Header(item.place, MISSING, MISSING, MISSING)
            raise Invalid("comes before the header")

    def _take_header(self, header: Header) -> None:
        self._header = header
        if not isinstance(header.processor, str) or not _PROCESSOR.fullmatch(header.processor):
            self._wrong(header.place, "has no processor's name (lower-case letters, digits, _ and -)")
        else:
            self.processor = header.processor
        sequence = self._whole(header.file_sequence)
        if sequence is None or not 1 <= sequence <= _SEQUENCE_MAX:
            self._wrong(header.place, "has no file sequence (a whole number from 1)")
        else:
            self.file_sequence = sequence
        try:
            self.settlement_date = days(header.settlement_date)
        except ValueError:
            self._wrong(header.place, "has no settlement date (YYYY-MM-DD)")

    def _row(self, row: Row) -> Line | None:
        try:
            self._check_order(row)
            line = self._line(row.values)
        except Invalid as invalid:
            self._is_untold = self._is_lost = True
            self._wrong(row.place, str(invalid))
            return None
        self._kinds[line.kind] += 1
        sums = self._sums.get(line.currency)
        if sums is None:
            sums = self._sums[line.currency] = [0, 0, 0, 0]
        sums[0] += 1
        sums[1] += line.amount_minor
        sums[2] += line.fee_minor or 0
        sums[3] += line.net_minor or 0
        if line.kind == _CAPTURE:
            self._references.add(line.reference or line.processor_reference)
        return line

    def _line(self, values: tuple[object, ...]) -> Line:
        """The line of a row; raises Invalid with what the first wrong field has to be."""
        number, theirs, ours, kind, amount, code, fee, net, payout, at = values
        self._check_number(number)
        if not isinstance(theirs, str) or not _REFERENCE.fullmatch(theirs):
            raise Invalid("has no processor_reference (1 to 255 printable ASCII characters without spaces)")
        if ours is not None and (not isinstance(ours, str) or not _REFERENCE.fullmatch(ours)):
            raise Invalid("has no valid reference (1 to 255 printable ASCII characters without spaces, or nothing)")
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise Invalid("has no kind (lower-case letters and _)")
        if kind not in self._kinds and len(self._kinds) == _KINDS_MAX:
            raise Invalid(f"has one kind more than the {_KINDS_MAX} that a file may have")
        amount_minor = self._amount("amount_minor", amount)
        if kind == _CAPTURE and amount_minor < 1:
            raise Invalid("captures less than 1 minor unit")
        return Line(
            self._number,
            theirs,
            ours,
            kind,
            amount_minor,
            currency("currency", code),
            None if fee is None else self._amount("fee_minor", fee),
            None if net is None else self._amount("net_minor", net),
            None if payout is None else currency("payout_currency", payout),
            None if at is None else moment(at),
        )

    def _check_number(self, value: object) -> None:
        """Lines are numbered 1, 2, 3 …: none is missing, none is there twice."""
        number, expected = self._whole(value), self._number + 1
        if number is None or abs(number) > _LINE_NUMBER_MAX:
            # It is not counted on from: the number after it would be told, and what stands there might be anything.
            self._number = expected
            raise Invalid("has no line number" if number is None else "has a line number out of bounds")
        # What follows a wrong number counts on from it, so that one fault is told once.
        self._number = number
        is_lost, self._is_lost = self._is_lost, False
        if is_lost:
            return
        if number == expected - 1 and number > 0:
            raise Invalid("has the number of the line before")
        if number != expected:
            raise Invalid(f"has another line number than {expected}, which would be next")

    def _amount(self, name: str, value: object) -> int:
        amount_minor = self._whole(value)
        if amount_minor is None:
            raise Invalid(f"has no {name} (a whole number of minor units)")
        if not -AMOUNT_MINOR_MAX <= amount_minor <= AMOUNT_MINOR_MAX:
            raise Invalid(f"has {name} out of bounds")
        return amount_minor

    def _check_total(self, total: Total) -> None:
        code = currency("currency", total.currency)
        said = [self._whole(value) for value in total[2:]]
        sums = self._sums.pop(code, [0, 0, 0, 0])
        if not self._is_untold and said != sums:
            names = ("lines", "amount_minor", "fee_minor", "net_minor")
            wrong = [name for name, one, other in zip(names, said, sums, strict=True) if one != other]
            raise Invalid(f"has a total that is not that of the lines in {code}: {', '.join(wrong)}")

    def _check_trailer(self, trailer: Trailer) -> None:
        self._trailer = trailer
        if self.file_sequence and self._whole(trailer.file_sequence) != self.file_sequence:
            self._wrong(trailer.place, "is the trailer of another file sequence than the header's")
        if self._is_untold:
            return
        if self._whole(trailer.lines) != self._number:
            self._wrong(trailer.place, f"is a trailer that does not count {self._number} lines")
        for code in sorted(self._sums):
            self._wrong(trailer.place, f"is the trailer, and there was no total of the lines in {code}")
