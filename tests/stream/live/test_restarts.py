"""Kills and restarts, a few of them; 50 are `python -m tests.stream.live.restarts`."""

from pathlib import Path

from tests.stream.live.restarts import MOST_SECONDS, measure


def test_pictures_flow_soon_after_a_server_is_back(tmp_path: Path) -> None:
    rows = measure(4, tmp_path / "restarts.csv")
    assert len(rows) % 4 == 0
    assert max(seconds for _, _, seconds, _ in rows) <= MOST_SECONDS, rows
