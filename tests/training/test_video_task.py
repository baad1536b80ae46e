"""The video task on the trainer: batches, segments, resuming, and that it learns."""

from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch._dynamo.utils import counters

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.networks.sapnet_video import SAPNetVideo, shifted
from sapnet_stream.networks.weights import load_video_network
from sapnet_training import video_task
from sapnet_training.checkpoint import load_checkpoint, save_checkpoint
from sapnet_training.export import export
from sapnet_training.recipe import load_config
from sapnet_training.trainer import Trainer
from sapnet_training.training_images import TrainingImages
from sapnet_training.video_clips import Clips
from sapnet_training.video_config import ClipPhase, VideoConfig
from sapnet_training.video_task import VideoTask

ROOT = Path(__file__).parents[2]


def config(**changes: object) -> VideoConfig:
    values: dict[str, object] = {
        "steps": 4,
        "phases": (ClipPhase(0, 2, 3, 32), ClipPhase(2, 2, 4, 32)),
        "segments": (2,),
        "warmup": 1,
    }
    return VideoConfig(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def photographs() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 20, 30, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (150, 170), mode="bicubic")
    return list((images.clamp(0, 1) * 255).to(torch.uint8))


def task(recipe: VideoConfig, photographs: list[Tensor], images: TrainingImages) -> VideoTask:
    assert images.masks is not None
    return VideoTask(recipe, photographs, photographs, images.masks)


def test_a_batch_depends_on_step_and_shard_and_seed_alone(
    photographs: list[Tensor], images: TrainingImages
) -> None:
    one = task(config(shards=2), photographs, images)
    first = one.batch(0, 1)
    assert first[0].shape == (1, 6, 3, 32, 32)
    for same, want in zip(one.batch(0, 1), first, strict=True):
        assert torch.equal(same, want)
    others = one.batch(0, 0), one.batch(1, 1)
    assert all(not torch.equal(other[0], first[0]) for other in others)
    assert one.batch(2, 0)[0].shape == (1, 8, 3, 32, 32)


def test_a_resumed_run_ends_bit_equal_to_an_uninterrupted_one(
    photographs: list[Tensor], images: TrainingImages, tmp_path: Path
) -> None:
    recipe = config()
    straight = Trainer(recipe, task(recipe, photographs, images))
    losses = [straight.advance() for _ in range(4)]
    first = Trainer(recipe, task(recipe, photographs, images))
    resumed = [first.advance() for _ in range(2)]
    save_checkpoint(tmp_path / "last.pt", first.parts())
    second = Trainer(recipe, task(recipe, photographs, images))
    second.restore(load_checkpoint(tmp_path / "last.pt"))
    resumed += [second.advance() for _ in range(2)]
    assert resumed == losses
    assert set(losses[0]) == {"loss", "l1", "ssim", "temporal"}
    export(tmp_path / "last.pt", tmp_path / "video.safetensors")
    exported = load_video_network(tmp_path / "video.safetensors").state_dict()
    for key, value in first.average.state_dict().items():
        assert torch.equal(exported[key], value)


def test_training_fits_one_batch(
    photographs: list[Tensor], images: TrainingImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = config(steps=25, phases=(ClipPhase(0, 2, 4, 32),), learning_rate=3e-3)
    only = task(recipe, photographs, images)
    batch = only.batch(1, 0)
    monkeypatch.setattr(only, "batch", lambda _step, _shard: batch)
    trainer = Trainer(recipe, only)
    losses = [trainer.advance()["l1"] for _ in range(25)]
    assert min(losses[-3:]) < 0.7 * losses[0]


def test_training_steps_are_what_the_network_does_with_a_stream(
    photographs: list[Tensor], images: TrainingImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task aligns and carries batches; the product one frame at a time: one function."""
    recipe = config(phases=(ClipPhase(0, 4, 8, 96),), segments=(1,))
    torch.manual_seed(1)
    network = SAPNetVideo().eval().requires_grad_(False)
    clips = Clips(*task(recipe, photographs, images).batch(0, 0))
    outputs = task(recipe, photographs, images).derained(network, clips)[0]
    still = [n for n in range(4) if not clips.motion[n].any()]
    assert still
    for n in still:
        state = network.initial(96, 96)
        known = iter([False, *[True] * 8])
        for frame, want in zip(clips.rainy[n, 2:] / 255, outputs[n, 2:], strict=True):
            # Rain on so small a picture misleads the camera; training knows where it is.
            monkeypatch.setattr(state.camera, "follow", lambda _, known=known: next(known))
            output, state = network(frame[None], state)
            assert (output[0] - want).abs().max() < 1e-4


def test_clips_of_any_length_run_what_is_compiled_once(
    photographs: list[Tensor], images: TrainingImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or twice: a segment's first frame gets no gradient from the one after it."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    recipe = config(compile=True, segments=(1, 2, 3))
    only = task(recipe, photographs, images)
    network = only.build().to(memory_format=torch.channels_last)
    torch._dynamo.reset()
    counters.clear()
    frames = set()
    for seed in range(6):
        batch = task(config(seed=seed, segments=(1, 2, 3)), photographs, images).batch(0, 0)
        frames.add(batch[0].shape[1])
        for losses in only.losses(network, batch, 0):
            torch.autograd.backward(losses["loss"])
    assert frames == {3, 6, 9}
    assert counters["stats"]["unique_graphs"] == 2


def test_validation_scores_and_pictures(
    photographs: list[Tensor], images: TrainingImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PATCH", 48), ("CLIPS", 1), ("BATCHES", 2)):
        monkeypatch.setattr(video_task, f"VALIDATION_{name}", value)
    only = task(config(), photographs, images)
    network = only.build()
    torch.nn.init.zeros_(network.conv.weight)
    scores = only.validate(network, 0)
    assert set(scores) == {"first", "late", "score"}
    assert scores == only.validate(network, 1)
    pictures = only.pictures(network, 0)
    assert list(pictures) == ["rainy", "derained", "clean"]
    assert all(picture.shape == (3, 48, 48) for picture in pictures.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"phases": ()},
        {"phases": (ClipPhase(1, 2, 4, 32),)},
        {"phases": (ClipPhase(0, 2, 2, 32),)},
        {"phases": (ClipPhase(0, 2, 4, 33),)},
        {"shards": 3},
        {"segments": (0,)},
        {"l1": -1.0},
        {"l1": 0.0, "ssim": 0.0},
        {"masks": ""},
    ],
)
def test_a_wrong_recipe_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        config(**wrong)


def test_the_committed_recipe_loads_and_scales() -> None:
    recipe = load_config(ROOT / "configs" / "video.yaml")
    assert isinstance(recipe, VideoConfig)
    half = recipe.scaled(recipe.steps // 2)
    assert half.phases[-1].start == round(recipe.phases[-1].start / 2)


def test_each_state_moves_as_its_camera_did() -> None:
    states = torch.rand(4, 2, 5, 7)
    shifts = [(0, 0), (1, -2), (-4, 3), (9, 0)]
    moved = video_task._shifted(states, torch.tensor(shifts))
    for state, shift, want in zip(states, shifts, moved, strict=True):
        assert torch.equal(shifted(state[None], shift)[0], want)


def test_photographs_beyond_the_memory_allowed_are_read_when_drawn(tmp_path: Path) -> None:
    for number in range(30):
        Image.effect_noise((90, 90), 60).convert("RGB").save(tmp_path / f"{number}.png")
    recipes = [config(photographs=(".",), masks=".", memory_gib=gib) for gib in (1.0, 1e-4)]
    held, read = (VideoTask.read(recipe, tmp_path, torch.device("cpu")) for recipe in recipes)
    assert held._photographs.held == len(held._photographs)  # type: ignore[attr-defined]
    assert read._photographs.held < 5  # type: ignore[attr-defined]
    for one, two in zip(held.batch(1, 0), read.batch(1, 0), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("names", "side", "message"),
    [(["a.png"], 200, "none is left held out"), (["a.png", "b.png"], 89, "is 89x89, smaller")],
)
def test_photographs_that_do_not_do_are_one_sentence(
    tmp_path: Path, names: list[str], side: int, message: str
) -> None:
    for name in names:
        Image.effect_noise((side, side), 60).save(tmp_path / name)
    with pytest.raises(InputError, match=message):
        VideoTask.read(config(photographs=(".",)), tmp_path, torch.device("cpu"))
