"""What a launch compiles to for a GPU that need not be there."""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.experimental.gluon._runtime import GluonASTSource, GluonJITFunction
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as GluonDescriptor
from triton.tools.tensor_descriptor import TensorDescriptor

_TENSOR_CORES = {"mma.sync": "mma", "wgmma.mma_async": "wgmma", "tcgen05.mma": "tcgen05"}
_TYPES = {
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.uint8: "u8",
    torch.uint16: "u16",
}


@dataclass(frozen=True)
class Compiled:
    """One kernel for one target.

    Attributes:
        name: of the kernel.
        warps: of a program.
        registers: of a thread.
        spill_loads: instructions that read a register's value back from memory.
        shared_bytes: of a program.
        tensor_cores: kinds of matrix instructions, among mma, wgmma and tcgen05.
    """

    name: str
    warps: int
    registers: int
    spill_loads: int
    shared_bytes: int
    tensor_cores: tuple[str, ...]


def compiled(run: Callable[[], object], capability: int) -> Compiled:
    """The one kernel that `run` launches, for a compute capability such as 90.

    The arguments' data is never touched: tensors may be on PyTorch's meta device.
    """
    with _recorded() as launches:
        run()
    ((kernel, arguments, options),) = launches
    signature, constants, attributes = {}, {}, {}
    for number, (parameter, value) in enumerate(zip(kernel.params, arguments, strict=True)):
        # As at a launch: what is absent or 1 is a constant, and divisibility by 16 is known. Of
        # some numbers a kernel wants to know neither.
        known = isinstance(value, int) and not parameter.do_not_specialize
        if parameter.is_constexpr or value is None or (known and value == 1):
            signature[parameter.name] = "constexpr"
            constants[parameter.name] = value
            continue
        signature[parameter.name] = _type(value)
        if isinstance(value, Tensor) or (known and value % 16 == 0):
            attributes[(number,)] = [["tt.divisibility", 16]]
    language = GluonASTSource if isinstance(kernel, GluonJITFunction) else ASTSource
    source = language(kernel, signature, constants, attributes)
    binary = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    registers, spills = _usage(binary.asm["cubin"])
    kinds = tuple(kind for name, kind in _TENSOR_CORES.items() if name in binary.asm["ptx"])
    name = str(kernel.__name__).strip("_").removesuffix("_kernel")
    shared = int(binary.metadata.shared)
    return Compiled(name, int(binary.metadata.num_warps), registers, spills, shared, kinds)


@contextmanager
def _recorded() -> Iterator[list[tuple[Any, list[Any], dict[str, Any]]]]:
    """Launches inside are listed instead: kernel, arguments in order, options."""
    launches: list[tuple[Any, list[Any], dict[str, Any]]] = []

    def record(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        rest = [kwargs.pop(name) for name in kernel.arg_names[len(args) :]]
        launches.append((kernel, [*args, *rest], kwargs))

    launch = triton.JITFunction.run
    triton.JITFunction.run = record
    try:
        yield launches
    finally:
        triton.JITFunction.run = launch


def _type(value: object) -> str:
    if isinstance(value, Tensor):
        return f"*{_TYPES[value.dtype]}"
    if isinstance(value, GluonDescriptor):
        kind, block = _TYPES[value.base.dtype], list(value.block_shape)
        return f"tensordesc<{kind}{block},{value.layout!r}>"
    if isinstance(value, TensorDescriptor):
        return f"tensordesc<{_TYPES[value.base.dtype]}{list(value.block_shape)}>"
    return "fp32" if isinstance(value, float) else "i32"


def _usage(cubin: bytes) -> tuple[int, int]:
    """Registers of a thread, and instructions that load from its local memory.

    Local memory that is only written is no spill: some waits store a zero there.
    """
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "-res-usage", "-sass", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Two entries: what all functions share, and the kernel.
    registers = max(int(number) for number in re.findall(r"REG:(\d+)", text))
    return registers, len(re.findall(r"\bLDL\b", text))
