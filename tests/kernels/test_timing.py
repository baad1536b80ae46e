"""Contenders take turns, what is recorded stays whole, and results say what they hold for."""

import csv
import os
import weakref
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from benchmarks import timing


def test_spread_and_ratio() -> None:
    assert timing.spread([5, 1, 2, 4, 3]) == {"median": "3", "p20": "1.8", "p80": "4.2"}
    # Pair by pair: 8 / 4, 1 / 1, 3 / 1; of the medians it would be 3.
    assert timing.ratio([8, 1, 3], [4, 1, 1]) == "2.00"


def test_a_recording_keeps_what_it_works_with(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device.type == "cpu":
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
        monkeypatch.setattr(torch.cuda, "graph", nullcontext)
    weight = torch.ones(1000, device=device)
    kept = weakref.ref(weight)
    call = timing.recorded(partial(torch.mul, weight, 2))
    del weight
    assert kept() is not None
    # What is free is handed out again.
    others = [torch.full((1000,), torch.nan, device=device) for _ in range(9)]
    result = call()
    assert isinstance(result, Tensor) and result.eq(2).all() and others


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    calls = {name: partial(order.append, name) for name in "ab"}

    def measure(call: timing.Call) -> float:
        call()
        return float(len(order))

    assert timing.in_turn(calls, 2, measure) == {"a": [3, 5], "b": [4, 6]}
    assert "".join(order) == "ababab"


def test_results_are_appended_with_what_they_hold_for(tmp_path: Path) -> None:
    path, state = tmp_path / "gpu.csv", {"gpu": "one", "sm_mhz": 1980}
    for what in ("first", "second"):
        timing.Results(path, "python3 it", lambda: state).add([{"what": what, "median": "3"}])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["what"] for row in rows] == ["first", "second"]
    for row in rows:
        assert (row["gpu"], row["sm_mhz"], row["command"]) == ("one", "1980", "python3 it")
        assert row["date"] and row["torch"] and row["triton"]


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("echo 580.1, 1980, 3201", {"driver": "580.1", "sm_mhz": "1980", "memory_mhz": "3201"}),
        ("echo no driver; exit 9", {}),
    ],
)
def test_clocks_are_told_where_they_can_be_asked_for(
    script: str, wanted: timing.Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert timing.gpu_state() == {"gpu": "a GPU", **wanted}
