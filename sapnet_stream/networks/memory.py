"""How much memory a frame may take."""

from pathlib import Path

import torch

from sapnet_stream.errors import TooLargeError
from sapnet_stream.freed_blocks import give_back_freed_blocks

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def available_bytes(device: torch.device) -> int:
    """Bytes that can be allocated on `device` now, without swapping.

    On a CPU the smaller of what the system and what this process's control group has left;
    on CUDA what the driver has free plus what PyTorch has cached. 2**63 - 1 where the
    system does not tell.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    unknown = 2**63 - 1
    if device.type != "cpu":
        return unknown
    give_back_freed_blocks()
    return min(_system_available(unknown), _cgroup_available(unknown))


def _system_available(unknown: int) -> int:
    if not _MEMINFO.exists():
        return unknown
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return unknown


def _cgroup_available(unknown: int) -> int:
    # Version 2; inside a container its own group is mounted here as the root.
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if not limit.exists() or not used.exists():
        return unknown
    text = limit.read_text().strip()
    if text == "max":
        return unknown
    # Pages of files can be dropped and count as used until then.
    files = 0
    for line in (_CGROUP / "memory.stat").read_text().splitlines():
        if line.startswith("inactive_file "):
            files = int(line.split()[1])
    return max(0, int(text) - int(used.read_text()) + files)


def too_large(height: int, width: int, needed: int, allowed: int) -> TooLargeError:
    """The error of a frame that takes more than it may."""
    return TooLargeError(
        f"a {width}x{height} frame needs {needed} bytes ({needed / 2**30:.2f} GiB) of memory and "
        f"{allowed} are allowed; raise --memory, use a 16-bit --dtype, or scale the video down"
    )
