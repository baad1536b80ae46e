"""Several processes that train one network, as torchrun starts them.

The network is small: its gradients are summed in one message after the backward pass, which
unlike DistributedDataParallel asks nothing of how the network is called.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from sapnet_stream.errors import UsageError


class Processes:
    """This process among those of the run; alone when torchrun did not start it.

    Attributes:
        rank: 0 for the one that validates, logs and saves.
        count: of processes.
        device: of this one.
    """

    def __init__(self, device: str = "auto") -> None:
        """`device` is "auto", "cpu" or "cuda"; each process takes a GPU of its own.

        Raises:
            UsageError: there is no such device.
        """
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError(
                "--device cuda needs a CUDA GPU that PyTorch can use; try --device cpu"
            )
        cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device("cuda", local) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
        if self.count > 1:
            dist.init_process_group("nccl" if cuda else "gloo")

    def shards(self, count: int) -> range:
        """Those of a batch's shards that this process works on.

        Raises:
            UsageError: they cannot be shared out evenly.
        """
        if count % self.count:
            raise UsageError(
                f"{self.count} processes cannot share {count} shards evenly; set shards="
                f"{self.count} or a multiple"
            )
        return range(self.rank, count, self.count)

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replaces each float32 tensor by its sum over the processes."""
        if self.count == 1:
            return
        parts = list(tensors)
        flat = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(flat)
        totals = torch.split(flat, [part.numel() for part in parts])
        for part, total in zip(parts, totals, strict=True):
            part.copy_(total.view_as(part))

    def any(self, here: bool) -> bool:
        """Whether it is so in one of the processes: they stop together or not at all."""
        return self.mean(float(here)) > 0

    def mean(self, here: float) -> float:
        """Of each process's value."""
        value = torch.tensor(here, device=self.device)
        self.sum([value])
        return value.item() / self.count

    def leave(self) -> None:
        """Ends the group."""
        if self.count > 1:
            dist.destroy_process_group()
