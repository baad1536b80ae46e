import json
import sys
from pathlib import Path

import pytest

from sapnet_training.validation_table import main

RECORD = {"seconds": 95, "loss": 0.25, "l1": 0.1, "learning_rate": 0.001}


def run(monkeypatch: pytest.MonkeyPatch, path: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["validation_table", str(path)])
    return main()


def test_a_line_per_validation_with_every_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    steps = [{"step": n, **RECORD, "dry": 40.0, "score": 30.0 + n, "skipped": 0} for n in (2, 4)]
    log.write_text("".join(json.dumps(step) + "\n" for step in steps))
    assert run(monkeypatch, log) == 0
    header, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert header == ["step", "minutes", "loss", "dry", "score"]
    assert lines == [
        ["2", "2", "0.2500", "40.00", "32.00"],
        ["4", "2", "0.2500", "40.00", "34.00"],
    ]


def test_a_log_that_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path / "none.jsonl") == 3
    assert "none.jsonl holds no validation" in capsys.readouterr().err
