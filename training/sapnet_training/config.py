"""A training recipe: one YAML file, checked before anything is computed.

`TrainConfig` is what every recipe has; each task adds its own in a subclass.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, get_args, get_origin

import yaml

from sapnet_stream.errors import UsageError

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("cosine", "steps")
PRECISIONS = ("float32", "bfloat16", "float16")
MOST_THREADS = 1024


@dataclass(frozen=True)
class TrainConfig:
    """How any network is trained.

    Attributes:
        task: what is trained; chooses the rest of the keys.
        seed: of the weights, the data and the rain.
        photographs: folders of clean pictures that rain falls on; one scene in 16 validates.
        masks: folder of rendered streaks, or "" for none.
        pair_sets: see `pairs.find_pairs`; a pair of a scene that validates is left out.
        leave_out: folders of test scenes, which are neither trained on nor validated on, whatever
            their files' names.
        memory_gib: for decoded images; those beyond it are read from disk each time.
        steps: batches in all; the schedule ends at the last.
        shards: equal parts of a batch, drawn and differentiated one by one: the number of
            processes must divide it, and memory is that of one part.
        optimizer: "adam" or "adamw".
        learning_rate: at its highest.
        warmup: steps of linear rise to `learning_rate`.
        schedule: "cosine" holds, then falls to the floor; "steps" falls at milestones.
        hold: share of the steps before the cosine begins.
        floor: the cosine's lowest learning rate, as a share of the highest.
        milestones: steps at which "steps" multiplies the learning rate by `gamma`.
        gamma: see `milestones`.
        weight_decay: of the optimizer.
        clip: largest gradient norm.
        ema: decay of the averaged weights, which are the ones measured and exported.
        precision: of images, states and convolutions; weights and updates stay float32.
        compile: torch.compile what runs most.
        threads: of the CPU.
        workers: processes that draw batches ahead, for a network that waits for them; 0 is a
            thread.
        save_minutes: between checkpoints.
        validate: steps between validations.
        most_skipped: updates in a row that may be skipped for a loss that is not finite.
    """

    task: str = "image"
    seed: int = 0
    photographs: tuple[str, ...] = ("train/bsds_clean_409",)
    masks: str = "train/garg_streaks_207"
    pair_sets: tuple[str, ...] = ("train/raintrainh_18pairs",)
    leave_out: tuple[str, ...] = ()
    memory_gib: float = 4.0
    steps: int = 10_000
    shards: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    warmup: int = 100
    schedule: str = "cosine"
    hold: float = 0.0
    floor: float = 0.01
    milestones: tuple[int, ...] = ()
    gamma: float = 0.2
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
    precision: str = "float32"
    compile: bool = False
    threads: int = 1
    workers: int = 0
    save_minutes: float = 3.0
    validate: int = 500
    most_skipped: int = 20

    def __post_init__(self) -> None:
        self.check_positive("steps", "shards", "learning_rate", "clip", "threads")
        self.check_positive("save_minutes", "validate", "most_skipped")
        self.check_not_negative("workers", "warmup", "weight_decay", "memory_gib")
        for name in ("threads", "workers"):
            if getattr(self, name) > MOST_THREADS:
                raise UsageError(
                    f"{name} must be at most {MOST_THREADS}, got {getattr(self, name)}"
                )
        if not self.photographs:
            raise UsageError("photographs must name a folder or more")
        for name in ("hold", "floor", "ema", "gamma"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        self.check_choice("optimizer", OPTIMIZERS)
        self.check_choice("schedule", SCHEDULES)
        self.check_choice("precision", PRECISIONS)
        if (self.schedule == "steps") != bool(self.milestones):
            raise UsageError("milestones and schedule: steps need each other")
        if min(self.milestones, default=0) < 0:
            raise UsageError(f"milestones must be 0 or more, got {self.milestones}")

    def check_positive(self, *names: str) -> None:
        """Raises UsageError for a value that is not above 0."""
        for name in names:
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be above 0, got {getattr(self, name)}")

    def check_not_negative(self, *names: str) -> None:
        """Raises UsageError for a value below 0."""
        for name in names:
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must be 0 or more, got {getattr(self, name)}")

    def check_choice(self, name: str, choices: Iterable[str]) -> None:
        """Raises UsageError for a value that is none of `choices`."""
        if getattr(self, name) not in choices:
            either = " or ".join(choices)
            raise UsageError(f"{name} must be {either}, got {getattr(self, name)!r}")

    def scaled(self, steps: int) -> Self:
        """The same schedule over another number of steps."""
        share = steps / self.steps
        return replace(
            self, steps=steps, milestones=tuple(round(m * share) for m in self.milestones)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as YAML holds them."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A recipe from plain values.

        Raises:
            UsageError: an unknown key, which is named with the nearest known one; a wrong
                type; a value out of range.
        """
        return cls(**_typed(cls, values, "a recipe"))


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The plain values of a YAML file, `key=value` overrides applied; the values are YAML too.

    Raises:
        UsageError: missing or unreadable file, YAML error, or an override without "=".
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no recipe at {path}") from None
    except OSError as error:
        raise UsageError(f"the recipe {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    values = _yaml(text, f"{path}")
    if not isinstance(values, dict):
        raise UsageError(f"{path} must be a mapping of keys to values")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"an override is key=value, got {override!r}")
        values[key] = _yaml(value, f"the value of {override!r}")
    return values


def _yaml(text: str, what: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" from line {mark.line + 1} on" if mark is not None and "\n" in text else ""
        problem = getattr(error, "problem", None) or error
        raise UsageError(f"{what} is no YAML{where}: {problem}") from error


def _typed(kind: type, values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The values of a dataclass's fields, lists made tuples; wrong ones are refused by name."""
    known = {field.name: field.type for field in fields(kind)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"{owner} has {', '.join(known)}"
            raise UsageError(f"unknown key {key!r}; {hint}")
    return {key: _value(known[key], value, key) for key, value in values.items()}


def _value(kind: Any, value: Any, key: str) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise UsageError(f"{key} must be a list, got {value!r}")
        return tuple(_value(get_args(kind)[0], item, f"each of {key}") for item in value)
    if get_origin(kind) is dict:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise UsageError(f"{key} must map names to values, got {value!r}")
        return {
            name: _value(get_args(kind)[1], item, f"{key} of {name}")
            for name, item in value.items()
        }
    if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
        names = ", ".join(field.name for field in fields(kind))
        if not isinstance(value, dict) or set(value) != {f.name for f in fields(kind)}:
            raise UsageError(f"{key} has {names}, got {value!r}")
        return kind(**_typed(kind, value, key))
    if kind is float:
        return _number(value, key)
    if type(value) is not kind:
        raise UsageError(f"{key} must be {kind.__name__}, got {value!r}")
    if kind is int and not -(2**63) <= value < 2**63:
        raise UsageError(f"{key} must fit into 64 bits, got {value}")
    return value


def _number(value: Any, key: str) -> float:
    """A finite float; YAML 1.1 takes 1e-3, which has no point, for text."""
    try:
        number = float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{key} must be a finite number, got {value!r}")
    return number


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
