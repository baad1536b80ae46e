"""The camera job: source, decoder, network, encoder and outputs, each on a thread of its own."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from sapnet_stream.flow import Channel, Pipeline
from sapnet_stream.live.connection import Connection, LivePacket
from sapnet_stream.live.decode import LiveDecoder, LiveFrame
from sapnet_stream.live.ladder import Derain, Ladder, Way
from sapnet_stream.live.output import Output
from sapnet_stream.live.pace import Pace
from sapnet_stream.live.program import Program, Unit
from sapnet_stream.live.sink import Sink, SinkState
from sapnet_stream.live.source import Source, State
from sapnet_stream.live.source_settings import SourceSettings
from sapnet_stream.live.status import Ages, SinkStatus, StageWait, Status
from sapnet_stream.live.template import describe_stream
from sapnet_stream.video.codec import EncoderSettings
from sapnet_stream.video.frame import Frame

# Packets may wait for the decoder so long that it can work through a slow moment; fewer where
# they are large, as pictures that no codec has made smaller.
QUEUED_PACKETS, QUEUED_BYTES = 100, 64 * 2**20
TICK_SECONDS = 1.0
# A stage that has not come back for so long hangs: in a codec, a driver, or on a disk.
STUCK_SECONDS = 30.0


@dataclass(frozen=True)
class CameraSettings:
    """What a camera job does.

    Attributes:
        source: where the stream comes from.
        outputs: where it goes.
        encoder: codec, quality and effort.
        max_latency_seconds: the age that frames may have in any case.
        rescale: a picture of another size goes on in the size of the first; else each output
            begins another file or connection.
        name: for people; "" for the address as it may be shown.
    """

    source: SourceSettings
    outputs: tuple[Output, ...]
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    max_latency_seconds: float = 0.5
    rescale: bool = False
    name: str = ""


class Camera:
    """One camera and its outputs.

    Args:
        settings: what to do.
        ways: how to derain, from the best to the fastest; see `Ladder`.
        on_event: told in one sentence what changes, from any thread.
        on_tick: given the status, once a second.
        on_derained: given each frame before and after, on the thread that derains; what it
            keeps of the one before must be a copy, for the encoder paints over it.
        device: within it, the device is this job's own; see `Turns`.
    """

    def __init__(
        self,
        settings: CameraSettings,
        ways: Sequence[Way],
        on_event: Callable[[str], None] = lambda _: None,
        on_tick: Callable[[Status], None] = lambda _: None,
        on_derained: Callable[[LiveFrame, Frame], None] = lambda *_: None,
        device: AbstractContextManager[None] | None = None,
    ) -> None:
        self._settings = settings
        self._on_event = on_event
        self._on_tick = on_tick
        self._on_derained = on_derained
        self._device = device or nullcontext()
        self._pipeline = Pipeline()
        switch = self._pipeline.cancellation
        self._pace = Pace(settings.max_latency_seconds)
        self._ages = Ages()
        self._ladder = Ladder(ways, time.monotonic())
        self._source = Source(
            settings.source, switch, self._heard, self._connected, on_event, self._pace.resume
        )
        self._decoder = LiveDecoder(self._pace.expired, lambda: self._source.newest_key)
        self._too_old = 0
        cap, persist = settings.source.cap_seconds, settings.source.persist
        self._sinks = [
            Sink(output, switch, on_event, cap_seconds=cap, persist=persist)
            for output in settings.outputs
        ]
        self._queues = [Channel[Unit](s.capacity, switch, newest=True) for s in self._sinks]
        self._program = Program(settings.encoder, self._queues, rescale=settings.rescale)
        self._build()

    def run(self) -> None:
        """Run until the source ends for good or the job is cancelled.

        Raises:
            SapnetError: one sentence.
            Cancelled: `cancel` was called.
        """
        over = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(over,), name="sapnet-status")
        ticker.start()
        try:
            self._pipeline.run()
        finally:
            over.set()
            ticker.join()

    def cancel(self) -> None:
        """End the job; files are completed. Safe in a signal handler."""
        self._pipeline.cancel()

    @property
    def status(self) -> Status:
        """What there is to say now."""
        stats, pace, ages = self._source.stats, self._pace, self._ages
        held = max(queue.held_seconds for queue in (self._packets, self._frames, self._clean))
        decoder, counts = self._decoder, self._source.stats.counts
        drops = {
            "decoder_busy": self._packets.dropped,
            "no_keyframe": decoder.skipped,
            "damaged": decoder.damaged,
            "too_old": decoder.late + self._too_old,
            "network_busy": self._frames.dropped,
            "encoder_busy": self._clean.dropped,
        }
        return Status(
            state=State.STUCK if held > STUCK_SECONDS else stats.state,
            camera=self._settings.name or self._settings.source.address.shown,
            frames_in=self._packets.dropped + decoder.came,
            frames_out=ages.frames,
            dropped=sum(drops.values()),
            drops=drops,
            corrupt=counts["corrupt"] + decoder.corrupt,
            retimed=counts["retimed"] + decoder.retimed,
            jumps=counts["jumps"],
            reconnects=max(0, stats.connections - 1),
            camera_rate=pace.camera_rate,
            frame_seconds=pace.frame_seconds,
            load=pace.load,
            age_seconds=ages.percentile(0.5),
            age_p99_seconds=ages.percentile(0.99),
            age_buckets=ages.buckets,
            age_sum_seconds=ages.sum_seconds,
            bound_seconds=pace.bound_seconds,
            late=ages.late,
            way=self._ladder.way.name,
            outputs=tuple(map(_sink_status, self._sinks, self._queues)),
            held_seconds=held,
            waits=tuple(
                StageWait(stage, queue.get_wait_so_far_seconds)
                for stage, queue in self._inputs.items()
            ),
        )

    @property
    def _stuck(self) -> list[str]:
        """The stages that hang."""
        return [s for s, queue in self._inputs.items() if queue.held_seconds > STUCK_SECONDS]

    def _build(self) -> None:
        pipeline = self._pipeline
        self._packets = pipeline.source(
            "read", self._source.packets, QUEUED_PACKETS, newest=True, places=_places
        )
        self._frames = pipeline.stage("decode", self._decode, self._packets, 1, newest=True)
        self._clean = pipeline.stage("derain", self._derain, self._frames, 1, newest=True)
        pipeline.sink("encode", self._encode, self._clean)
        self._inputs: dict[str, Channel[Any]] = {
            "decode": self._packets,
            "derain": self._frames,
            "encode": self._clean,
        }
        for number, (sink, queue) in enumerate(zip(self._sinks, self._queues, strict=True), 1):
            pipeline.sink(f"output {number}", sink.work, queue)
            self._inputs[f"output {number}"] = queue

    def _connected(self, connection: Connection) -> None:
        audio = connection.audio
        self._program.hear(None if audio is None else describe_stream(audio))
        self._pace.resume()

    def _heard(self, packet: Any) -> None:
        self._program.sound(packet)

    def _decode(self, packets: Iterator[Any]) -> Generator[LiveFrame, None, None]:
        for live in self._decoder.frames(packets):
            self._pace.arrived()
            yield live

    def _derain(self, frames: Iterator[LiveFrame]) -> Generator[LiveFrame, None, None]:
        derain: Derain | None = None
        made_for: tuple[int, Way] | None = None
        for live in frames:
            self._pace.begin()
            with self._device:
                # While other cameras had it, newer ones may have come: where some are dropped
                # anyway, the older; where not, each has its turn.
                if self._pace.slow:
                    live = self._frames.newest(live)
                if not self._pace.turn(live.arrival_seconds):
                    self._too_old += 1
                    continue
                way = self._ladder.way
                # What remembers earlier frames must not remember those of before an outage.
                if derain is None or made_for != (live.connection, way):
                    derain, made_for = way.begin(), (live.connection, way)
                clean = derain(live.frame)
                self._pace.end()
            self._on_derained(live, clean)
            yield replace(live, frame=clean)

    def _encode(self, frames: Iterator[LiveFrame]) -> Generator[None, None, None]:
        for live in frames:
            if self._sinks:
                self._program.show(live)
            age = time.monotonic() - live.arrival_seconds
            self._ages.add(age, self._pace.bound_seconds)
            yield
        self._program.finish()
        for queue in self._queues:
            queue.close()

    def _tick(self, over: threading.Event) -> None:
        try:
            self._watch(over)
        except Exception as error:  # noqa: BLE001 - raised by run()
            self._pipeline.fail(error, "the status")

    def _watch(self, over: threading.Event) -> None:
        announced, stuck = False, list[str]()
        while not over.wait(TICK_SECONDS):
            before, stuck = stuck, self._stuck
            if stuck != before:
                self._on_event(_told(stuck))
            pace = self._pace
            if pace.measured and not announced:
                announced = True
                encoder = self._program.encoder and f"; {self._program.encoder}"
                self._on_event(f"{self._ladder.way.name}: {pace.promise}{encoder}")
            running = self._source.stats.state == State.RUNNING
            said = pace.check() if running else None
            if said is not None:
                self._on_event(said)
            judged = running and pace.known
            if judged and self._ladder.step(pace.slow, pace.load, time.monotonic()):
                pace.forget()
                announced = False
                self._on_event(f"deraining with {self._ladder.way.name} from now on")
            self._on_tick(self.status)


def _sink_status(sink: Sink, queue: Channel[Unit]) -> SinkStatus:
    state = SinkState.STUCK if queue.held_seconds > STUCK_SECONDS else sink.state
    return SinkStatus(sink.output.address.shown, state, sink.connections, sink.sent, sink.skipped)


def _told(stuck: Sequence[str]) -> str:
    if not stuck:
        return "not stuck any more"
    names = " and ".join(stuck)
    return f"stuck: {names} did not come back for {STUCK_SECONDS:g} s; the rest goes on"


def _places(item: LivePacket) -> int:
    """How much room a packet takes in a queue of `QUEUED_PACKETS`."""
    size: int = item.packet.size
    return 1 + size * QUEUED_PACKETS // QUEUED_BYTES
