"""The README's library code does what it says."""

import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "input.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for shade in (40, 120, 200):
            pixels = np.full((32, 48, 3), shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_the_library_examples_run(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clip.parent)
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(examples) == 3
    rainy = np.full((20, 31, 3), 90, np.uint8)
    names: dict[str, Any] = {"rainy": rainy, "batch": torch.rand(2, 3, 17, 9, dtype=torch.float64)}
    array, tensor, video = examples
    exec(array, names)
    assert names["clean"].shape == rainy.shape
    assert names["clean"].dtype == np.uint8
    exec(tensor, names)
    assert names["clean"].shape == names["batch"].shape
    assert names["clean"].dtype == torch.float64
    exec(video, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{seconds} torch.Size([32, 48])" for seconds in ("0.0", "0.1", "0.2")]
