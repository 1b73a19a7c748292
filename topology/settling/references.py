"""How a line and a capture find each other, and by what a settlement is known. Pure.

A capture is known by our own id of it, which every adapter sends along and a processor's file names in return: so one
that is in doubt, of which the processor's own reference is not known, is found like any other. A line without it goes
by the processor's reference, under which no capture waits; the read model then knows which one is meant.
"""

from __future__ import annotations

from schemas.identifiers import TransactionId, settlement_id
from schemas.settlement import Capture, MismatchResolved, Settlement, SettlementLine

__all__ = ["key_of", "key_of_settlement", "reference_of", "settlement_id_of"]


def reference_of(line: SettlementLine) -> str:
    """Our own reference, else the processor's."""
    return line.reference or line.processor_reference


def key_of(record: Capture | SettlementLine) -> str:
    """The key of a record in payments.captures and payments.settlement-lines: `processor:reference`."""
    reference = reference_of(record) if isinstance(record, SettlementLine) else record.transaction_id
    return f"{record.processor}:{reference}"


def key_of_settlement(record: Settlement | MismatchResolved) -> str:
    """The key in payments.settlements: the intent, else `unmatched:reference`.

    A person's word about a settlement has the settlement's key, and so lies behind it in the same partition.
    """
    if record.payment_intent_id is not None:
        return record.payment_intent_id
    return f"unmatched:{record.reference}"


def settlement_id_of(line: SettlementLine) -> TransactionId:
    """The settlement that a line becomes; the same (file hash, line number) again is the same one."""
    return settlement_id(processor=line.processor, file_hash=line.file_hash, line_number=line.line_number)
