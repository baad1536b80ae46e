"""Which network derains what: one with a memory for videos, the paper's for single images."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sapnet_stream.errors import UsageError
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import (
    DEFAULT_NAME,
    ENVIRONMENT,
    VIDEO_NAME,
    find_weights,
    load_either,
)
from sapnet_stream.short_thread import in_short_thread

Kind = Literal["video", "image"]
BUNDLED_WEIGHTS = {"video": VIDEO_NAME, "sapnet": DEFAULT_NAME}
DEFAULTS: dict[Kind, str] = {"video": "video", "image": "sapnet"}


@dataclass(frozen=True)
class Models:
    """What was asked for.

    Attributes:
        model: "video" or "sapnet"; None leaves the choice to what is derained.
        weights: a bundled name or a path, which decides the network too; None takes
            $SAPNET_WEIGHTS unless a model was asked for, and without it the bundled weights.
    """

    model: str | None = None
    weights: str | None = None

    def path(self, kind: Kind) -> Path:
        """The checkpoint for videos, or for images.

        Raises:
            WeightsError: there is none of that name.
        """
        wished = None if self.model else os.environ.get(ENVIRONMENT)
        bundled = BUNDLED_WEIGHTS[self.model or DEFAULTS[kind]]
        return find_weights(self.weights or wished or bundled)

    def network(self, kind: Kind) -> SAPNet | SAPNetVideo:
        """The network for videos, or for images.

        Raises:
            WeightsError: the checkpoint is missing, damaged, or of no network of ours.
            UsageError: it is not of the model that was asked for.
        """
        path = self.path(kind)
        network = in_short_thread(lambda: load_either(path))
        model = "video" if isinstance(network, SAPNetVideo) else "sapnet"
        if self.model not in (None, model):
            raise UsageError(
                f"{path} holds the network of --model {model}, not of --model {self.model}: "
                "leave out --model"
            )
        return network
