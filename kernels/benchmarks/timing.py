"""Timing on a GPU: contenders in turn, each with a cold L2 cache, and a file of results."""

import csv
import gc
import shutil
import statistics
import subprocess
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

import torch
import triton

Call = Callable[[], object]
Row = dict[str, object]
T = TypeVar("T")
_CYCLES = 1_000_000

COLUMNS = (
    *("date", "gpu", "driver", "torch", "triton", "cudnn", "sm_mhz", "memory_mhz", "what", "by"),
    *("dtype", "channels", "dilation", "height", "width", "tile", "chosen", "unit", "median"),
    *("p20", "p80", "runs", "flop", "bytes", "ratio", "baseline", "note", "command"),
)


class ColdTimer:
    """Milliseconds of a call on the GPU that finds nothing of its own in the L2 cache."""

    def __init__(self) -> None:
        size = torch.cuda.get_device_properties("cuda").L2_cache_size
        self._flush = torch.empty(4 * size, dtype=torch.int8, device="cuda")
        self._begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def __call__(self, call: Call) -> float:
        self._flush.zero_()
        # Half a millisecond, in which the call is queued: starting it costs no contender anything.
        torch.cuda._sleep(_CYCLES)  # type: ignore[no-untyped-call]
        self._begin.record()
        call()
        self._end.record()
        torch.cuda.synchronize()
        return float(self._begin.elapsed_time(self._end))


@dataclass(frozen=True)
class Recording:
    """A call as a CUDA graph; its result lies where the next replay writes its own.

    Attributes:
        graph: what is replayed.
        call: what was recorded. Weights and buffers that the graph works with belong to it: without
            it their memory would be handed out again.
        result: of every replay.
    """

    graph: torch.cuda.CUDAGraph
    call: Call
    result: object

    def __call__(self) -> object:
        self.graph.replay()
        return self.result


def recorded(call: Call) -> Call:
    """`call` as a CUDA graph, see `Recording`."""
    # cuDNN chooses and compilers work before, which cannot be recorded.
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()
    return Recording(graph, call, result)


def in_turn(
    calls: Mapping[str, Call], runs: int, measure: Callable[[Call], float]
) -> dict[str, list[float]]:
    """Each contender's figures, run by run, after one round that does not count.

    A device whose clock drifts slows all alike, so figures of one run make a pair.
    """
    figures: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            figure = measure(call)
            if run:
                figures[name].append(figure)
    return figures


def spread(values: Sequence[float]) -> Row:
    """Median, 20th and 80th percentile, linear between values."""
    tensor = torch.tensor(values, dtype=torch.float64)
    low, middle, high = (tensor.quantile(q).item() for q in (0.2, 0.5, 0.8))
    return {"median": f"{middle:.4g}", "p20": f"{low:.4g}", "p80": f"{high:.4g}"}


def ratio(baseline: Sequence[float], values: Sequence[float]) -> str:
    """How many times as fast as the baseline: the median over the pairs."""
    return f"{statistics.median(b / v for b, v in zip(baseline, values, strict=True)):.2f}"


def free_memory() -> None:
    """Before the next contenders: graphs of the last ones hold theirs until they are gone."""
    gc.collect()
    torch.cuda.empty_cache()


def tried(work: Callable[[], T]) -> tuple[T | None, str]:
    """What `work` returns; or None and how it failed, which costs no other its figures."""
    try:
        return work(), ""
    except Exception as error:  # noqa: BLE001 - printed, and told in the results
        traceback.print_exc()
        return None, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def gpu_state() -> Row:
    """The GPU and, where `nvidia-smi` works, its driver and its clocks now, right after work."""
    state: Row = {"gpu": torch.cuda.get_device_name()}
    program = shutil.which("nvidia-smi")
    if program is None:
        return state
    query = "--query-gpu=driver_version,clocks.sm,clocks.mem"
    command = [program, query, "--format=csv,noheader,nounits", "--id=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        # No reason to lose what was measured.
        return state
    values = (value.strip() for value in done.stdout.split(","))
    return state | dict(zip(("driver", "sm_mhz", "memory_mhz"), values, strict=True))


class Results:
    """Rows that are written as they come, so that a run that is cut short leaves what it has.

    Args:
        path: a CSV file; rows are appended.
        command: that measures.
        state: of the device, asked for each group of rows.
    """

    def __init__(
        self, path: Path, command: str, state: Callable[[], Mapping[str, object]] = gpu_state
    ) -> None:
        self._path, self._state = path, state
        self._common = {
            "date": date.today().isoformat(),
            "torch": torch.__version__,
            "triton": triton.__version__,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "command": command,
        }

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Append and print rows that were measured just now."""
        common = self._common | dict(self._state())
        fresh = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            if fresh:
                writer.writeheader()
            writer.writerows(common | dict(row) for row in rows)
        shown = ("what", "by", "channels", "dilation", "width", "height", "tile", "chosen")
        for row in rows:
            figures = (*shown, "median", "unit", "ratio", "baseline", "note")
            print(*(row[name] for name in figures if row.get(name, "") != ""), flush=True)

    def measured(self, of: Row, work: Callable[[], Sequence[Mapping[str, object]]]) -> bool:
        """Add the rows that `work` measures, or one that says how it failed; whether any is red.

        Args:
            of: what that one would say beside.
            work: measures.
        """
        rows, why = tried(work)
        if rows is None:
            rows = [of | {"note": f"red, not timed: {why}"}]
        self.add(rows)
        return any(str(row.get("note")).startswith("red") for row in rows)
