"""Which network derains what."""

from pathlib import Path

import pytest

from sapnet_stream.errors import UsageError, WeightsError
from sapnet_stream.models import Models
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import find_weights


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAPNET_WEIGHTS", raising=False)


def test_videos_get_the_memory_and_images_the_paper_s_network() -> None:
    assert isinstance(Models().network("video"), SAPNetVideo)
    assert isinstance(Models().network("image"), SAPNet)


@pytest.mark.parametrize(("model", "network"), [("video", SAPNetVideo), ("sapnet", SAPNet)])
def test_a_model_that_was_asked_for_derains_both(model: str, network: type) -> None:
    assert isinstance(Models(model).network("video"), network)
    assert isinstance(Models(model).network("image"), network)


def test_weights_decide_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(find_weights("sapnet"))
    assert isinstance(Models(weights=path).network("video"), SAPNet)
    assert isinstance(Models(weights="sapnet_video").network("image"), SAPNetVideo)
    monkeypatch.setenv("SAPNET_WEIGHTS", "sapnet")
    assert isinstance(Models().network("video"), SAPNet)
    assert isinstance(Models("video").network("video"), SAPNetVideo)
    assert Models(weights="sapnet_video").path("video").stem == "sapnet_video"


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(UsageError, match="holds the network of --model sapnet, not of --model vid"):
        Models("video", "sapnet").network("video")


def test_weights_that_are_no_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("nothing")
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        Models(weights=str(tmp_path / "x.safetensors")).network("image")
