"""The file of several cameras: what it says, and that every mistake is one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sapnet_stream.errors import SapnetError
from sapnet_stream.live.cameras_file import CamerasFile, read_cameras
from sapnet_stream.live.redact import Redactor

Read = Callable[..., CamerasFile]

GOOD = """
model: video
metrics: 9100
quiet: false
defaults:
  user: viewer
  max-latency: 0.75
  encoder-option: [bf=0, g=10]
cameras:
  yard:
    input: rtsp://cam/yard
    output: FOLDER/yard.mkv
    segment: 600
    keep: 20
    also: [none, FOLDER/other.mkv]
  gate:
    input: rtsp://cam/gate
    output: none
    user: 0123
    persist: false
    when-slow: drop
"""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """A function that reads a file of this text."""

    def parse(text: str, redactor: Redactor | None = None) -> CamerasFile:
        path = tmp_path / "cameras.yaml"
        path.write_text(text.replace("FOLDER", str(tmp_path)))
        path.chmod(0o640)
        return read_cameras(path, redactor or Redactor())

    return parse


def test_each_camera_has_its_options_over_those_of_all(read: Read) -> None:
    file = read(GOOD)
    assert (file.whole.model, file.whole.metrics, file.whole.quiet) == ("video", "9100", False)
    yard, gate = (file.cameras[name].settings for name in ("yard", "gate"))
    assert (yard.name, gate.name) == ("yard", "gate")
    assert (yard.source.address.user, gate.source.address.user) == ("viewer", "0123")
    assert (yard.source.persist, gate.source.persist) == (True, False)
    assert yard.max_latency_seconds == gate.max_latency_seconds == 0.75
    assert [output.keep.files for output in yard.outputs] == [20, 20]
    assert yard.encoder.options == {"bf": "0", "g": "10"} and not gate.outputs
    assert file.cameras["gate"].options.when_slow == "drop"
    # What the whole program has is known to each.
    assert file.cameras["yard"].options.model == "video"
    assert file.warning is None


def test_what_did_not_change_is_equal_and_what_did_is_not(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GOOD.replace("    segment: 600\n", "    segment: 600\n    password-env: YARD\n")
    monkeypatch.setenv("YARD", "one")
    first, second = read(text), read(text.replace("when-slow: drop", "when-slow: smaller"))
    assert first.cameras["yard"] == second.cameras["yard"]
    assert first.cameras["gate"] != second.cameras["gate"]
    monkeypatch.setenv("YARD", "two")
    assert first.cameras["yard"] != read(text).cameras["yard"]


BOTH = "rtsp://joe:pass-word@cam/x"
MISTAKES = {
    "cameras: {a: {output: none}}": "camera a: input is missing",
    "cameras: {a: {input: rtsp://c/x}}": "camera a: output is missing",
    "cameras: {a: {input: [], output: none}}": "camera a: input is missing",
    "cameras: {a: 5}": "camera a: it must be a mapping of options",
    "cameras: {}": "names no camera",
    "model: video": "names no camera: add one below cameras:",
    "cameras: 5": "cameras must be a mapping of names to cameras",
    "- a": "must be a mapping of cameras:",
    "": "must be a mapping of cameras:",
    "cameras: {a: {input: rtsp://c/x, output: none, nonsense: 1}}": "camera a: nonsense is no opt",
    "cameras: {a: {input: rtsp://c/x, output: none, password: pass-word}}": "password-env or -file",
    "cameras: {a: {input: rtsp://c/x, output: none, model: video}}": "a: model holds for all",
    "defaults: {log: json}\ncameras: {}": "defaults: log holds for all cameras",
    "defaults: {input: rtsp://c/x}\ncameras: {}": "defaults: input is for one camera",
    "segment: 5\ncameras: {}": "segment is for one camera",
    "nonsense: 5\ncameras: {}": "nonsense is no option of the whole program",
    "quiet: perhaps\ncameras: {}": "quiet must be true or false",
    "model: [video]\ncameras: {}": "model must be a text",
    "model: nothing\ncameras: {}": "argument --model: invalid choice: 'nothing'",
    "cameras: {a: {input: rtsp://c/x, output: none, segment: 0}}": "a: --segment must be more",
    "cameras: {a: {input: rtsp://c/x, output: none, retries: x}}": "a: argument --retries: invalid",
    "cameras: {a: {input: rtsp://c/x, output: none, segment: x}}": "stream rtsp:// --help",
    "cameras: {a: {input: rtsp://c/x, output: none, http: [a]}}": "a: http must be true or false",
    "cameras: {a: {input: rtsp://c/x, output: none, also: [[a]]}}": "a: also must be texts",
    "cameras: {a: {input: rtsp://c/x, output: none, password-env: NOT_SET}}": "NOT_SET of --passw",
    "cameras: {a: {input: ftp://c/x, output: none}}": "camera a: ftp:// is no input",
    "cameras: {a: {input: rtsp://c/x, output: a.avi}}": "camera a: a.avi: the ending .avi names no",
    "cameras: {a b: {input: rtsp://c/x, output: none}}": "a name is up to 64 letters, digits",
    "cameras:\n  a: {input: rtsp://c/x}\n  a: {input: rtsp://c/x}": "line 3: a stands there more",
    "cameras: {a: {input: rtsp://c/x, input: rtsp://c/x}}": "line 1: input stands there more than",
    f"cameras: {{? [{BOTH}] : b}}": "this is not YAML",
    f"cameras: {{{BOTH}: {{}}}}": "camera a key: a name is up to 64",
    f"cameras: {{{BOTH}: 1, {BOTH}: 2}}": "a key stands there more than once",
    f"cameras: {{a: *{BOTH}}}": "line 1: aliases are not taken",
    "cameras: &all {a: *all}": "line 1: aliases are not taken",
    'cameras: {a: {input: rtsp://c/x, output: "a\\0.mkv"}}': "of that name cannot be looked at",
    'cameras: {a: {input: rtsp://c/x, output: "\\UFFFFFFFF"}}': "this is not YAML",
    'cameras: {a: {input: rtsp://c/x, output: "\\U00110000"}}': "this is not YAML",
    'cameras:\n  a: {input: rtsp://c/x, user: "\\ud800"}': "line 2: half a character",
    "cameras: {a: {input: 'joe:pass-word@cam/x', output: none}}": "camera a: *** is a file",
    "cameras: {a: {input: 'rtsp:/joe:pass-word@cam/x', output: none}}": "camera a: *** is a file",
    "cameras: {a: {input: rtsp://c/x, output: 'joe:pass-word@cam/x'}}": "camera a: ***: the ending",
    f"cameras: {{a: '{BOTH}": "this is not YAML",
    f"cameras: {{a: {{input: {BOTH}, output: none, log: {BOTH}}}}}": "log holds for all",
    f"cameras: {{a: {{input: {BOTH}, output: none, {BOTH}: 5}}}}": "a key is no option of a camera",
    f"cameras: {{a: {{input: {BOTH}, output: none, retries: '{BOTH}'}}}}": "--retries: invalid",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_one_sentence_without_the_password(
    read: Read, text: str, tmp_path: Path
) -> None:
    redactor = Redactor()
    with pytest.raises(SapnetError) as raised:
        read(text, redactor)
    said = redactor.clean(str(raised.value))
    assert MISTAKES[text] in said and said.startswith(str(tmp_path / "cameras.yaml"))
    assert "pass-word" not in said and "\n" not in said


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("rtsp://c/x, output: FOLDER/a.mkv", "rtsp://c/y, output: FOLDER/b/../a.mkv", "a.mkv"),
        ("rtsp://c/x, output: none, also: [rtsp://d/k]", "rtsp://c/y, output: rtsp://e@d/k", "d/k"),
        ("rtsp://c/x, output: '-'", "rtsp://c/y, output: '-'", "-"),
        ("'-', output: none", "'-', output: none", "standard input"),
    ],
)
def test_two_cameras_do_not_share_an_end(
    read: Read, first: str, second: str, shown: str, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    text = f"cameras: {{a: {{input: {first}}}, b: {{input: {second}}}}}"
    with pytest.raises(SapnetError, match="cameras a and b have the same end, .*" + shown):
        read(text)
    with pytest.raises(SapnetError, match="cameras a and b"):
        read(text.replace("x, output", "z, output"))


def test_a_name_that_holds_a_secret_is_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YARD", "garden")
    end = "input: rtsp://c/x, output: none"
    password = f"a: {{{end}, user: joe, password-env: YARD}}, my-garden: {{{end}}}"
    key = "b: {input: rtsp://c/x, output: none}, gate: {input: rtmp://c/live/gate, output: none}"
    for cameras, name in ((password, "garden"), (key, "gate")):
        with pytest.raises(SapnetError, match="the name of camera 2 holds a password") as raised:
            read(f"cameras: {{{cameras}}}")
        assert name not in str(raised.value)


def test_a_password_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    for url, mode, warned in [
        (BOTH, 0o644, True),
        (BOTH, 0o640, False),
        ("rtsp://cam/x", 0o644, False),
    ]:
        path.write_text(f"cameras: {{a: {{input: '{url}', output: none}}}}")
        path.chmod(mode)
        warning = read_cameras(path, Redactor()).warning
        assert (warning is not None) == warned
        assert "pass-word" not in (warning or "")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff\xfe\xfa")
    for name in ("none", "", "latin"):
        with pytest.raises(SapnetError, match="cannot be read"):
            read_cameras(tmp_path / name, Redactor())
