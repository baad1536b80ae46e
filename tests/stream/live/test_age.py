"""The short form of the measurement of ages; the long one is `python -m tests.stream.live.age`."""

from dataclasses import replace
from pathlib import Path

from tests.stream.live.age import Ages, measure


def test_frames_stay_within_the_announced_bound_where_the_network_is_slow(tmp_path: Path) -> None:
    ages = measure(20, tmp_path / "age.csv")
    assert ages.frames > 60
    assert ages.bounded, ages
    assert len((tmp_path / "age.csv").read_text().splitlines()) > 15


def test_what_does_not_keep_the_promise_is_found() -> None:
    kept = Ages(3000, 0.5, 0.2, 0.5, 0.01, 0)
    assert kept.bounded
    assert not replace(kept, p99_seconds=0.51).bounded
    assert not replace(kept, growth_seconds=0.11).bounded
