"""Whether the kernels of `sapnet_kernels` run on a device."""

import importlib.util
import os
import shutil
from functools import cache

import torch


@cache
def has_triton(device: torch.device) -> bool:
    """Whether it is a GPU of NVIDIA's since Ampere, and Triton and what Triton needs are there."""
    # ROCm calls itself CUDA.
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    # Triton starts kernels through a program that it compiles itself.
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    able = torch.cuda.get_device_capability(device) >= (8, 0)
    return able and bool(compiler) and bool(importlib.util.find_spec("triton"))
