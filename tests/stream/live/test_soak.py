"""The short form of the soak; the long one is `python -m tests.stream.live.soak`."""

from pathlib import Path

from tests.stream.live.soak import HEADER, judge, soak


def test_reconnects_leave_nothing_behind(tmp_path: Path) -> None:
    found = soak(120, 5, tmp_path / "soak.csv")
    assert found.reconnects >= 12
    assert found.steady, (tmp_path / "soak.csv").read_text()


def test_what_grows_is_found() -> None:
    def rows(mb: float, files: int, threads: int) -> list[tuple[float, ...]]:
        """After each of ten reconnects there is so much more."""
        return [
            (20.0 * n, n, 500 * n, 600 + mb * n, 700, 7 + files * n, 9 + threads * n)
            for n in range(10)
        ]

    assert len(rows(0, 0, 0)[0]) == len(HEADER)
    assert judge(rows(0.3, 0, 0)).steady
    assert round(judge(rows(0.3, 0, 0)).mb_per_minute, 3) == 0.9
    for grows in ((0.4, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert not judge(rows(*grows)).steady
