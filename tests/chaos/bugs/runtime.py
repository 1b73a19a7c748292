"""Bugs in the exactly-once runtime of all flows (`topology/kafka`)."""

from __future__ import annotations

from tests.chaos.bugs.planting import Bug, Edit

__all__ = ["RUNTIME_BUGS"]

_COMMIT = "topology.kafka.commits:Commits._commit"
_OFFSETS = "[TopicPartition(topic, shard, offset) for (topic, shard), offset in positions.items()]"
_SEND = "producer.send_offsets_to_transaction(offsets, self._run.assignment.metadata, _COMMIT_TIMEOUT_SECONDS)"
_BARE_METADATA = 'Consumer({"group.id": self._spec.name}).consumer_group_metadata()'

RUNTIME_BUGS = (
    Bug(
        name="offsets_before_events",
        does="the offsets of an epoch are committed in a transaction of their own, before its events",
        edits=(
            Edit(
                where=_COMMIT,
                before=f"{_SEND}\nproducer.commit_transaction(_COMMIT_TIMEOUT_SECONDS)",
                after="producer.commit_transaction(_COMMIT_TIMEOUT_SECONDS)",
            ),
            Edit(
                where="topology.kafka.commits:Commits._hand_over",
                before="self._producer.begin_transaction()",
                after=f"""
                    producer, positions = self._producer, self._run.positions
                    producer.begin_transaction()
                    offsets = {_OFFSETS}
                    {_SEND}
                    producer.commit_transaction(_COMMIT_TIMEOUT_SECONDS)
                    producer.begin_transaction()
                """,
            ),
        ),
    ),
    Bug(
        name="only_changed_offsets",
        does="an epoch sends only the offsets that moved: with none, the broker is not asked who may commit",
        edits=(
            Edit(
                where=_COMMIT,
                before=_OFFSETS,
                after=_OFFSETS[:-1] + " if offset != self._run.committed[topic, shard]]",
            ),
        ),
    ),
    Bug(
        name="metadata_at_commit",
        does="the group's metadata is fetched at the commit, and a member that rejoined goes on with what it had",
        edits=(
            # This alone does nothing: a run ends as soon as its process sees that it was given other shards.
            Edit(
                where="topology.kafka.membership:Membership._accept",
                before="metadata = consumer.consumer_group_metadata()",
                after="metadata = consumer",
            ),
            Edit(
                where=_COMMIT,
                before="self._run.assignment.metadata",
                after="self._run.assignment.metadata.consumer_group_metadata()",
            ),
            # And neither does this: the broker knows the generation by its metadata.
            Edit(
                where="topology.kafka.source:GroupSource._is_held",
                before=" and self._membership.assignment is self._run.assignment",
                after="",
            ),
        ),
    ),
    Bug(
        name="last_offset",
        does="the offset of the input that was decided last is committed, not the highest",
        edits=(
            Edit(
                where="topology.kafka.source:GroupSource._take",
                before="run.positions[topic, partition] = offset + 1\n",
                after="",
            ),
            Edit(
                where="topology.kafka.stateful:_Step._of_key",
                before="partition, store = inputs[0].partition, self._context.store",
                after="""
                    partition, store = inputs[0].partition, self._context.store
                    for given in inputs:
                        self._context.source._run.positions[given.topic, given.partition] = given.offset + 1
                """,
            ),
        ),
    ),
    Bug(
        name="restore_to_committed_end",
        does="a restore ends where a committed reader can come to at that moment",
        edits=(
            Edit(
                where="topology.kafka.clients:high_watermark_consumer",
                before='isolation="read_uncommitted"',
                after='isolation="read_committed"',
            ),
        ),
    ),
    Bug(
        name="no_fencing",
        does="each life has a transactional id of its own, and offsets are sent without the member's generation",
        edits=(
            Edit(
                where="topology.kafka.clients:transactional_producer",
                before='"transactional.id": f"{flow}-{instance}"',
                after='"transactional.id": f"{flow}-{instance}-{time.time_ns()}"',
            ),
            Edit(
                where="topology.kafka.membership:Membership._accept",
                before="metadata = consumer.consumer_group_metadata()",
                after=f"metadata = {_BARE_METADATA}",
            ),
        ),
    ),
    Bug(
        name="produce_errors_ignored",
        does="a message that the producer does not take is dropped, and the epoch committed without it",
        edits=(
            Edit(
                where="topology.kafka.commits:Commits._produce",
                before="""
                    if self._producer.poll(0.1) == 0 and self._producer.flush(_COMMIT_TIMEOUT_SECONDS):
                        raise
                """,
                after="return",
            ),
        ),
    ),
)
