"""A flow that was told another number of partitions than the topics have does not start."""

from __future__ import annotations

import pytest

from tests.harness.driver import FlowDriver
from topology import processing, reconciliation
from topology.kafka import WrongPartitions


def test_processing_refuses_another_number_of_partitions() -> None:
    side = processing.ProcessingSide([], processing.ProcessingConfig(), partitions=8)
    with pytest.raises(WrongPartitions, match="the topics have 4 partitions"):
        FlowDriver(processing.FLOW, processing.build, side=side).settle()
    side.close()


def test_reconciliation_refuses_another_number_of_partitions() -> None:
    side = reconciliation.ReconciliationSide([], reconciliation.ReconciliationTimes(), partitions=8)
    with pytest.raises(WrongPartitions, match="the topics have 4 partitions"):
        FlowDriver(reconciliation.FLOW, reconciliation.build, side=side).settle()
    side.close()
