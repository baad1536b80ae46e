"""The floors of the house: who may import whom, and that importing needs little."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "sapnet_kernels": ROOT / "kernels" / "sapnet_kernels",
    "sapnet_stream": ROOT / "sapnet_stream",
    "sapnet_training": ROOT / "training" / "sapnet_training",
}
# A folder or file on the left never imports one on the right.
FORBIDDEN = {
    "sapnet_kernels": ["sapnet_stream", "sapnet_training"],
    "sapnet_stream": ["sapnet_training"],
    "sapnet_stream.networks": ["sapnet_stream.video", "sapnet_stream.engine"],
    "sapnet_stream.video": ["sapnet_stream.networks", "sapnet_stream.engine", "sapnet_stream.flow"],
    "sapnet_stream.still": ["sapnet_stream.networks", "sapnet_stream.engine"],
    "sapnet_stream.flow": ["torch", "av", "sapnet_stream.video", "sapnet_stream.networks"],
    "sapnet_stream.engine": ["av", "sapnet_stream.flow", "sapnet_stream.derain"],
    "sapnet_stream.derain": ["sapnet_stream.cli", "sapnet_stream.live"],
    "sapnet_stream.live": ["sapnet_stream.cli", "sapnet_stream.derain", "sapnet_stream.folder"],
    "sapnet_stream.image": ["sapnet_stream.derain", "sapnet_stream.cli"],
    "sapnet_training": ["sapnet_stream.derain", "sapnet_stream.cli", "sapnet_stream.live"],
}


def imports(path: Path) -> Iterator[str]:
    """Every module a file names, function bodies included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *inner)), path


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("floor", FORBIDDEN)
def test_imports_go_one_way(floor: str) -> None:
    files = [path for name, path in modules() if inside(name, floor)]
    assert files, f"{floor} does not exist"
    for path in files:
        for name in imports(path):
            wrong = [banned for banned in FORBIDDEN[floor] if inside(name, banned)]
            assert not wrong, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_no_heavy_library(package: str) -> None:
    code = (
        f"import sys, {package}\n"
        "heavy = {'av', 'triton', 'torchvision', 'lpips', 'openvino', 'skimage'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
