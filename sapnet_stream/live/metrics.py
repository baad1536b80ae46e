"""What Prometheus reads of camera jobs."""

from collections.abc import Callable, Iterator, Sequence

import torch
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sapnet_stream.live.source import State
from sapnet_stream.live.status import Status

_COUNTS = {
    "frames_in": "Frames that came.",
    "frames_out": "Frames derained and encoded.",
    "dropped": "Frames and packets left out.",
    "late": "Frames older than the bound when they were encoded.",
    "corrupt": "Broken packets and frames.",
    "retimed": "Packets and frames whose time went back.",
    "jumps": "Times at which the camera's clock was set.",
    "reconnects": "Connections after the first.",
}
_GAUGES = {
    "camera_rate": "Frames per second that come and can be decoded.",
    "frame_seconds": "What deraining a frame takes, with the wait for other cameras.",
    "bound_seconds": "The age that no frame should exceed.",
    "load": "Share of its time that a camera needs for its frames; beyond 1 they are dropped.",
    "held_seconds": "How long a camera's slowest stage has worked at what it took last.",
}


class CameraCollector(Collector):
    """Turns statuses into metrics, each time they are asked for.

    Args:
        statuses: gives the status of each camera.
    """

    def __init__(self, statuses: Callable[[], Sequence[Status]]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[Metric]:
        """The metrics, all labelled with the camera as it may be shown."""
        statuses = self._statuses()
        for name, text in _COUNTS.items():
            counter = CounterMetricFamily(f"sapnet_{name}", text, labels=["camera"])
            for status in statuses:
                counter.add_metric([status.camera], getattr(status, name))
            yield counter
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"sapnet_{name}", text, labels=["camera"])
            for status in statuses:
                gauge.add_metric([status.camera], getattr(status, name))
            yield gauge
        yield from _parts(statuses)
        yield from _outputs(statuses)
        if torch.cuda.is_available():
            memory = GaugeMetricFamily("sapnet_device_memory_bytes", "In use on the GPU.")
            memory.add_metric([], torch.cuda.memory_allocated())
            yield memory


def _parts(statuses: Sequence[Status]) -> Iterator[Metric]:
    """What each camera has several of."""
    drops = CounterMetricFamily(
        "sapnet_drops", "What was dropped, by cause.", labels=["camera", "cause"]
    )
    states = GaugeMetricFamily(
        "sapnet_state", "1 for what the camera is doing.", labels=["camera", "state"]
    )
    ages = HistogramMetricFamily(
        "sapnet_age_seconds", "Age of frames when they were encoded.", labels=["camera"]
    )
    waits = CounterMetricFamily(
        "sapnet_stage_wait_seconds", "Time without input.", labels=["camera", "stage"]
    )
    for status in statuses:
        for cause, count in status.drops.items():
            drops.add_metric([status.camera, cause], count)
        for state in State:
            states.add_metric([status.camera, state.value], float(status.state == state))
        buckets = [(_edge(edge), count) for edge, count in status.age_buckets]
        ages.add_metric([status.camera], buckets, status.age_sum_seconds)
        for wait in status.waits:
            waits.add_metric([status.camera, wait.stage], wait.seconds)
    yield from (drops, states, ages, waits)


def _outputs(statuses: Sequence[Status]) -> Iterator[Metric]:
    labels = ["camera", "output"]
    up = GaugeMetricFamily("sapnet_output_up", "1 while an output is sent to.", labels=labels)
    sent = CounterMetricFamily("sapnet_output_sent", "Packets sent.", labels=labels)
    skipped = CounterMetricFamily("sapnet_output_skipped", "Packets left out.", labels=labels)
    for status in statuses:
        for number, output in enumerate(status.outputs, 1):
            # Two outputs may look the same once their keys are hidden.
            names = [status.camera, f"{number} {output.output}"]
            up.add_metric(names, float(output.state == "running"))
            sent.add_metric(names, output.sent)
            skipped.add_metric(names, output.skipped)
    yield from (up, sent, skipped)


def _edge(seconds: float) -> str:
    return "+Inf" if seconds == float("inf") else f"{seconds:g}"


def metrics_of(statuses: Callable[[], Sequence[Status]]) -> Callable[[], bytes]:
    """A function that writes the metrics of all cameras and of this process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(CameraCollector(statuses))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
