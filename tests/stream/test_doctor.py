"""What the program says of itself and its machine."""

import re

import pytest

from sapnet_stream import cli


def test_doctor_runs(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    said = capfd.readouterr().out
    for subject in ("sapnet-stream", "python", "torch", "av", "ffmpeg", "cpu", "encoders"):
        assert re.search(rf"^{subject} ", said, re.MULTILINE), subject
    assert re.search(r"^weights sapnet +SAPNet, sha256 \w{16}, intact$", said, re.MULTILINE)
