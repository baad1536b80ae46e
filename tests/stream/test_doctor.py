"""What the program says of itself and its machine."""

import re

import pytest
import torch

from sapnet_stream import cli


def test_doctor_runs(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    said = capfd.readouterr().out
    for subject in ("sapnet-stream", "python", "torch", "av", "ffmpeg", "cpu", "encoders"):
        assert re.search(rf"^{subject} ", said, re.MULTILINE), subject
    assert re.search(r"^weights sapnet +SAPNet, sha256 \w{16}, intact$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("capabilities", "dtypes"),
    [
        ({"avx2": True, "avx512_bf16": True}, "bfloat16"),
        ({"avx2": True}, "float32 for images, int8 for videos"),
        ({}, "float32"),
    ],
)
def test_it_names_the_arithmetic(
    capabilities: dict[str, bool],
    dtypes: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert cli.main(["doctor"]) == 0
    assert f"default dtype {dtypes}\n" in capfd.readouterr().out
