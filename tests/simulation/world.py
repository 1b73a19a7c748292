"""A world by seed: three flows on one log, merchants, a network, a read model that lags, and crashes at any moment.

Every step is drawn from the seed's generator, so a failing seed is a failing history, each time. The flows are the real
ones; the log, the clock, the network and the merchants are simulated. After `STEPS` moves nothing breaks any more, time
passes until nothing is open, and the checker of the chaos suite judges what came of it (`evidence`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator

from schemas.identifiers import PaymentIntentId, payment_intent_id
from schemas.payment import PaymentEvent, PaymentIntent
from schemas.times import Micros, later
from schemas.topics import EVENTS, PROCESSOR_RESULTS, Topic
from tests.harness.driver import FakeClock
from tests.simulation.epochs import DirectEpochs, Epochs
from tests.simulation.flows import flows
from tests.simulation.log import SimulatedLog
from tests.simulation.merchants import MERCHANT, Merchants
from tests.simulation.network import DEADLINE_SECONDS, MOODS, Wires, promises
from tests.simulation.process import Flow, Process, SkewedClock
from tests.simulation.read_model import ReadModel
from tests.topology.processing.rig import BootClock, StubProcessor

__all__ = ["STEPS", "World"]

STEPS = 260
_PARTITIONS = 2
_INTENTS = 6
_SKEW_SECONDS_MAX = 5.0
_OPEN_SECONDS_MAX = 10.0
_PACES = (0.05, 1.0, 1.0)
"""How often a flow gets its turn, against the others."""
_LAGS = (0.2, 0.5, 0.95)
"""How often a source that is busy with what its side brings leaves the log for later."""
_SLEEP_MOVES = (5, 40)
_PASSING_SECONDS = (0.2, 1.0, 5.0, 12.0, 70.0, 400.0, 4_000.0)
_PASSING_WEIGHTS = (8, 16, 12, 12, 12, 4, 1)

Tell = Callable[[str], None]


class World:
    """Everything that a seed needs. `tell` hears every move as a sentence."""

    def __init__(self, seed: int, *, epochs: type[Epochs] = DirectEpochs, tell: Tell | None = None) -> None:
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.log = SimulatedLog(_PARTITIONS)
        self.last: dict[PaymentIntentId, PaymentIntent] = {}
        self.happenings: Counter[str] = Counter()
        self._boot = BootClock()
        self._epochs = epochs
        self._tell = tell
        self._move = 0
        self._scanned = [0] * _PARTITIONS
        lapses = self.chance.random() < 0.4
        promised = {name: promises(self.chance, lapses=lapses) for name in ("a", "b")}
        silent = self.chance.random() < 0.1
        self._processors = [StubProcessor(name, None if silent else promised[name]) for name in promised]
        self._promised = promised
        self.wires = Wires(self.chance, self.clock, promised)
        self.read_model = ReadModel(self.log, self._new_clock())
        self.intents = [
            payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key=f"{seed}-{number}")
            for number in range(_INTENTS)
        ]
        self.merchants = Merchants(self.chance, self._new_clock(), self.log, self.read_model, self.intents, self.last)
        self._flows = flows(self.chance, self._boot, self._processors, partitions=_PARTITIONS)
        self._groups = [self._new_group(flow) for flow in self._flows]
        self._paces = [self.chance.choice(_PACES) for _ in self._flows]
        self._lag = self.chance.choice(_LAGS)

    def live(self, steps: int = STEPS) -> None:
        """Make so many moves, each by chance."""
        goes_on: list[tuple[int, Callable[[], None]]] = [
            (90, self._a_process_reads),
            (40, self._a_call_ends),
            (22, self._a_merchant_asks),
            (9, self._the_read_model_goes_on),
        ]
        happens: list[tuple[int, Callable[[], None]]] = [
            (16, self._a_customer_decides),
            (5, self._time_passes),
            (4, self._a_process_dies),
            (4, self._a_process_sleeps),
            (1, self._a_process_stops),
            (1, self._a_group_rebalances),
            (4, self._settlement_speaks),
            (1, self._the_processors_speak),
        ]
        # Each world has a temper of its own: what is rare in one happens all the time in another.
        weights = [*(often for often, _ in goes_on), *(often * self.chance.choice(MOODS) for often, _ in happens)]
        actions = [action for _, action in (*goes_on, *happens)]
        for action in self.chance.choices(actions, weights, k=steps):
            action()
            self._move += 1

    def say(self, sentence: str) -> None:
        """Put a move on record, where somebody listens."""
        if self._tell is not None:
            self._tell(f"{(self.clock.at - FakeClock().at) / 1_000_000:10.1f}  {sentence}")

    def processes(self) -> Iterator[Process]:
        """All that run."""
        for group in self._groups:
            yield from group

    # Moves of processes.

    def _a_process_reads(self) -> None:
        awake = [process for process in self.processes() if process.asleep_until <= self._move]
        busy = [process for process in awake if process.is_open or process.unread()]
        if awake:
            (process,) = self.chance.choices(busy or awake, [self._pace(process) for process in busy or awake])
            self._go_on(process)

    def _go_on(self, process: Process) -> None:
        """Begin an epoch, or end the one that is open; now and then the process does not live to see its end."""
        if not process.is_open and not self._begin(process):
            return
        end = self.chance.random()
        if end < 0.04:
            self._die(process)
        elif end < 0.93:
            self.commit(process)

    def _pace(self, process: Process) -> float:
        return self._paces[self._flows.index(process.flow)]

    def _begin(self, process: Process) -> bool:
        def places(is_busy: bool) -> list[tuple[Topic, int]]:
            unread = [] if is_busy and self.chance.random() < self._lag else process.unread()
            return self.chance.sample(unread, self.chance.randint(1, len(unread))) if unread else []

        return process.begin(places, lambda: self.chance.randint(1, 4))

    def commit(self, process: Process) -> None:
        """End the epoch that is open: its effects are there for all."""
        effects = process.commit()
        if process.flow is self._flows[0]:
            self.merchants.hear(effects)
        if self._tell is not None:
            self.say(f"{process.flow.spec.name}{list(process.shards)} commits")
        self._scan()

    def _scan(self) -> None:
        """What the log says of each PaymentIntent now."""
        for shard in range(_PARTITIONS):
            events = self.log.entries(EVENTS, shard)
            for entry in events[self._scanned[shard] :]:
                event = entry.value
                assert isinstance(event, PaymentEvent)
                intent, told = event.payment_intent, event.transaction
                self.last[intent.id] = intent
                if told is not None and told.next_action is not None:
                    self.wires.shown.add(told.id)
                if self._tell is not None:
                    about = "" if told is None else f" {told.type} {told.id} {told.status} at {told.processor}"
                    self.say(f"  {intent.id} {event.sequence} {event.type}, {intent.status}{about} ({event.cause})")
            self._scanned[shard] = len(events)

    def _a_process_dies(self) -> None:
        self._die(self._any_process())

    def _die(self, process: Process) -> None:
        """The process, or only its run: another takes over its shards where the log has them."""
        how = f"dies {'in' if process.is_open else 'between'} epochs"
        self.happenings[f"{process.flow.spec.name} {how}"] += 1
        self.say(f"{process.flow.spec.name}{list(process.shards)} {how}")
        if process.engine is not None:
            self.wires.abandon(process.engine)
        if self.chance.random() < 0.3:
            process.rejoin(process.shards)
            return
        process.leave()
        group = self._groups[self._flows.index(process.flow)]
        group[group.index(process)] = self._new_process(process.flow, process.shards)

    def _a_process_sleeps(self) -> None:
        """It is paused, or slow; its calls go on, and their answers wait."""
        process = self._any_process()
        process.asleep_until = self._move + self.chance.randint(*_SLEEP_MOVES)
        self.say(f"{process.flow.spec.name}{list(process.shards)} sleeps")

    def _a_process_stops(self) -> None:
        """A clean stop: nothing more is read, calls under way are awaited for a while."""
        process = self._any_process()
        self.happenings[f"{process.flow.spec.name} stops"] += 1
        self.say(f"{process.flow.spec.name}{list(process.shards)} stops")
        if process.is_open:
            self.commit(process)
        process.side.stop()
        for _ in range(self.chance.randint(1, 8)):
            if process.engine is not None:
                self._serve(process)
            if process.begin(lambda _: [], lambda: 0):
                self.commit(process)
            if process.side.idle():
                break
        self._die(process)

    def _a_group_rebalances(self) -> None:
        """Processes come and go: the shards are shared out anew."""
        number = self.chance.randrange(len(self._flows))
        for process in self._groups[number]:
            if process.engine is not None:
                self.wires.abandon(process.engine)
            process.leave()
        self._groups[number] = self._new_group(self._flows[number])
        self.happenings[f"{self._flows[number].spec.name} rebalances"] += 1
        self.say(f"{self._flows[number].spec.name} is {[list(one.shards) for one in self._groups[number]]} now")

    def _new_group(self, flow: Flow) -> list[Process]:
        shares: list[tuple[int, ...]] = [(0, 1)] if self.chance.random() < 0.5 else [(0,), (1,)]
        return [self._new_process(flow, shards) for shards in shares]

    def _new_process(self, flow: Flow, shards: tuple[int, ...]) -> Process:
        return Process(flow, self.log, self._new_clock(), shards, self._epochs)

    def _new_clock(self) -> SkewedClock:
        return SkewedClock(self.clock, self.chance.uniform(-_SKEW_SECONDS_MAX, _SKEW_SECONDS_MAX))

    def _any_process(self) -> Process:
        return self.chance.choice(self.chance.choice(self._groups))

    # Moves of everybody else.

    def _a_call_ends(self) -> None:
        process = self.chance.choice(self.chance.choice(self._groups[1:]))
        self._serve(process)
        if process.asleep_until <= self._move and self.chance.random() < 0.7 * self._pace(process):
            self._go_on(process)

    def _serve(self, process: Process) -> None:
        assert process.engine is not None
        served = self.wires.serve(process.engine)
        if served is not None:
            self.say(served)

    def _a_merchant_asks(self) -> None:
        self.say(self.merchants.ask())

    def _a_customer_decides(self) -> None:
        decided = self.wires.customer()
        if decided is not None:
            intent, told = decided
            self.say(told)
            if self.chance.random() < 0.8:
                self.merchants.come_back(intent)

    def _settlement_speaks(self) -> None:
        """It tells of what was approved, whatever has become of it since."""
        word = self.wires.word()
        if word is not None:
            self.say(f"settlement says that {word.transaction_id} was approved at {word.processor}")
            self.log.append(PROCESSOR_RESULTS, word.payment_intent_id, word, at=self.clock.now())

    def _the_processors_speak(self) -> None:
        """From now on it is known what they promise."""
        for processor in self._processors:
            processor.capabilities = self._promised[processor.name]

    def _the_read_model_goes_on(self) -> None:
        self.read_model.go_on(self.chance.randrange(_PARTITIONS), self.chance.choice([1, 4, None, None]))

    def _time_passes(self) -> None:
        (seconds,) = self.chance.choices(_PASSING_SECONDS, _PASSING_WEIGHTS)
        self.let_pass(seconds)

    def let_pass(self, seconds: float) -> None:
        """Time goes on: no call takes longer than its deadline, no epoch longer than its transaction may be open."""
        if seconds >= DEADLINE_SECONDS:
            for process in self.processes():
                while process.engine is not None and process.engine.running:
                    self._serve(process)
        if seconds >= _OPEN_SECONDS_MAX:
            for process in list(self.processes()):
                if process.is_open:
                    self._die(process)
        until = later(self.clock.at, seconds=seconds)
        while (late_at := self.wires.next_late_at) is not None and late_at <= until:
            self._move_clock(max(late_at, self.clock.at))
        self._move_clock(until)
        self.merchants.deliver()

    def _move_clock(self, at: Micros) -> None:
        self._boot.seconds += (at - self.clock.at) / 1_000_000
        self.clock.at = at
        for arrived in self.wires.deliver_late():
            self.happenings["late arrival"] += 1
            self.say(f"late: {arrived}")

    def get_well(self) -> None:
        """Nothing breaks any more, and what processors promise is known."""
        self.wires.is_well = True
        self._the_processors_speak()
