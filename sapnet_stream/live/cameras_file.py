"""The file of `sapnet-stream live`: several cameras, and what holds for all of them.

    model: video
    metrics: 9100
    defaults:
      segment: 600
      keep: 7d
    cameras:
      yard:
        input: rtsp://10.0.0.7/stream
        output: yard.mkv
        user: viewer
        password-env: YARD

Keys are the long names of the options of one camera, and mean what they mean there; `also` and
`encoder-option` take lists, options without a value `true` or `false`. Those of the network and
of the surface (`WHOLE`) hold for all cameras and stand at the top.
"""

import argparse
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sapnet_stream.errors import InputError, SapnetError, UsageError
from sapnet_stream.live.address import Address, parse_address
from sapnet_stream.live.camera import CameraSettings
from sapnet_stream.live.options import parser
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.settings import camera_settings

NETWORK = ("model", "weights", "device", "dtype", "strength", "stages", "memory")
SURFACE = ("metrics", "preview", "token-env", "token-file", "log", "quiet")
WHOLE = (*NETWORK, *SURFACE)
# Cameras are watched by nobody: one that is not there at first may come.
UNATTENDED = {"persist": "true"}
_ENDS = {"input": "comes from", "output": "goes to, or none"}
_NAME = re.compile(r"\w[\w.-]{0,63}")
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

Tree = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One camera; two that are equal need no restart.

    Attributes:
        settings: of its job, with the passwords that were read.
        options: all of them, those of the whole program included.
    """

    settings: CameraSettings
    options: argparse.Namespace


@dataclass(frozen=True)
class CamerasFile:
    """What a file says.

    Attributes:
        whole: the options of the whole program.
        cameras: by name.
        warning: a sentence on the file itself, or None.
    """

    whole: argparse.Namespace
    cameras: dict[str, Entry]
    warning: str | None

    @property
    def addresses(self) -> list[Address]:
        """All ends of all cameras."""
        jobs = [entry.settings for entry in self.cameras.values()]
        outputs = [output.address for job in jobs for output in job.outputs]
        return [*(job.source.address for job in jobs), *outputs]


class _Loader(yaml.BaseLoader):
    """Every scalar is a text, as if it had been typed; a key may stand once, and no aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise UsageError(
                f"line {line}: aliases are not taken: write it out, or below defaults:"
            )
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        text = super().construct_scalar(node)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            line = node.start_mark.line + 1
            raise UsageError(f"line {line}: half a character, as \\ud800 is, is no text") from error
        return text

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                line = key.start_mark.line + 1
                raise UsageError(f"line {line}: {_shown(key.value)} stands there more than once")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_cameras(path: Path, redactor: Redactor) -> CamerasFile:
    """What a file says; all of it is checked.

    Args:
        path: of the file.
        redactor: knows the file's secrets before anything is said of it.

    Raises:
        SapnetError: the first mistake, in one sentence that names the file, the camera and the key.
    """
    tree, mode = _tree(path)
    redactor.hide(typed=_addresses(tree))
    file = _parsed(path, tree, exposed=bool(mode & stat.S_IROTH))
    redactor.hide(file.addresses)
    for number, name in enumerate(file.cameras, 1):
        if redactor.clean(name) != name:
            what = "a password or key, as the end of an rtmp address is one"
            raise UsageError(f"{path}: the name of camera {number} holds {what}: choose another")
    return file


def _tree(path: Path) -> tuple[Tree, int]:
    """The file as it is written, all values as texts, and its mode.

    Where it is no YAML, the sentence says where, and nothing of the text: that may be a password.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            # The loader is a safe one: it makes texts, lists and mappings alone.
            tree = yaml.load(file.read(), _Loader)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: it is not UTF-8 text") from error
    except UsageError as error:
        raise UsageError(f"{path}, {error}") from error
    except (yaml.YAMLError, RecursionError, TypeError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UsageError(f"{path}{where}: this is not YAML as it is needed here") from error
    return _mapping(tree, f"{path}", "of cameras: and what holds for all of them"), mode


def _addresses(tree: Any) -> list[str]:
    """What of a tree looks like an address, understood or not; none of it may be shown.

    Where its scheme was forgotten, a password is in it still.
    """
    if isinstance(tree, str):
        return [tree] if "://" in tree or "@" in tree else []
    parts = [*tree, *tree.values()] if isinstance(tree, dict) else tree
    return [text for part in parts for text in _addresses(part)]


def _parsed(path: Path, tree: Tree, *, exposed: bool) -> CamerasFile:
    rest = dict(tree)
    cameras = _mapping(rest.pop("cameras", None) or {}, f"{path}: cameras", "of names to cameras")
    defaults = _mapping(rest.pop("defaults", None) or {}, f"{path}: defaults", "of options")
    with _within(str(path)):
        _check_keys(rest, WHOLE, "the whole program")
        whole = _arguments(rest)
        together = parser().parse_args([*whole, "--", "-", "none"])
    with _within(f"{path}: defaults"):
        _check_keys(defaults, _camera_keys() - _ENDS.keys(), "all cameras")
    entries = {}
    for name, options in cameras.items():
        with _within(f"{path}: camera {_shown(name)}"):
            if not _NAME.fullmatch(name):
                raise UsageError("a name is up to 64 letters, digits, and . - _ behind the first")
            entries[name] = _entry(name, options, defaults, whole)
    if not entries:
        raise UsageError(f"{path} names no camera: add one below cameras:")
    with _within(str(path)):
        _check_ends(entries)
    return CamerasFile(together, entries, _warning(path, entries) if exposed else None)


def _entry(name: str, options: Any, defaults: Tree, whole: list[str]) -> Entry:
    options = _mapping(options, "it", "of options, input and output among them")
    _check_keys(options, _camera_keys(), "a camera")
    for end, what in _ENDS.items():
        if not isinstance(options.get(end), str) or not options[end]:
            raise UsageError(f"{end} is missing: say where it {what}")
    merged = {**UNATTENDED, **defaults, **options}
    ends = [merged.pop("input"), merged.pop("output")]
    parsed = parser().parse_args([*whole, *_arguments(merged), "--", *ends])
    return Entry(camera_settings(parsed, name), parsed)


@cache
def _usual() -> dict[str, Any]:
    """What every option is unless it is given, by key."""
    values = vars(parser().parse_args(["-", "none"]))
    return {name.replace("_", "-"): value for name, value in values.items()}


def _camera_keys() -> set[str]:
    return _usual().keys() - set(WHOLE)


def _check_keys(options: Tree, known: Collection[str], owner: str) -> None:
    for key in options:
        if key in known:
            continue
        if key in WHOLE:
            raise UsageError(f"{key} holds for all cameras: write it at the top of the file")
        if key in _camera_keys():
            raise UsageError(f"{key} is for one camera: write it there, or below defaults:")
        if key == "password":
            raise UsageError("password is not taken: name its place by password-env or -file")
        raise UsageError(f"{_shown(key)} is no option of {owner}")


def _arguments(options: Tree) -> list[str]:
    """As they would have been typed."""
    typed = []
    for key, value in options.items():
        default = _usual()[key]
        if isinstance(default, bool):
            if not isinstance(value, str) or value.lower() not in _SWITCH:
                raise UsageError(f"{key} must be true or false")
            typed += [f"--{key}"] if _SWITCH[value.lower()] else []
            continue
        values = value if isinstance(value, list) and isinstance(default, list) else [value]
        if not all(isinstance(each, str) for each in values):
            raise UsageError(f"{key} must be {'texts' if isinstance(default, list) else 'a text'}")
        typed += [f"--{key}={each}" for each in values]
    return typed


def _check_ends(entries: Mapping[str, Entry]) -> None:
    """No two cameras write to one place, or read standard input."""
    taken: dict[str, str] = {}
    for name, entry in entries.items():
        source = entry.settings.source.address
        ends = {f"from {source.scheme}": "standard input"} if source.scheme == "pipe" else {}
        for address in (output.address for output in entry.settings.outputs):
            place = address.path and os.path.realpath(address.path)
            if address.host:
                place = address.host + address.path
            ends[f"to {address.scheme} {place}"] = address.shown
        for end, shown in ends.items():
            if end in taken:
                both = f"cameras {taken[end]} and {name}"
                raise UsageError(f"{both} have the same end, {shown}: give each one of its own")
        taken |= dict.fromkeys(ends, name)


def _warning(path: Path, entries: Mapping[str, Entry]) -> str | None:
    options = [entry.options for entry in entries.values()]
    typed = [parse_address(each.input, "input") for each in options]
    typed += [parse_address(to, "output") for each in options for to in (each.output, *each.also)]
    if any(address.secrets for address in typed):
        return (
            f"{path} may hold a password or key, and everybody here can read it: use password-env "
            "or password-file, or take away the right to read it (chmod o-r)"
        )
    return None


def _mapping(tree: Any, where: str, what: str) -> Tree:
    if isinstance(tree, dict) and all(isinstance(key, str) for key in tree):
        return tree
    raise UsageError(f"{where} must be a mapping {what}")


def _shown(text: str) -> str:
    """A name or key as it may be shown: anything can have been typed there."""
    return text if _NAME.fullmatch(text) else "a key"


@contextmanager
def _within(where: str) -> Iterator[None]:
    """Within, errors say where they are."""
    try:
        yield
    except SapnetError as error:
        raise type(error)(f"{where}: {error}") from error
    except (OSError, ValueError) as error:
        # No right to look into a folder, a name that is too long, or holds a zero.
        raise UsageError(f"{where}: a file or folder of that name cannot be looked at") from error
