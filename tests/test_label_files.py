"""Files of class names as people have them: understood, or refused with what they hold."""

import json
import os
import random
import shlex
import subprocess
from pathlib import Path

import pytest
from support import expect_error

from vit_export import RequestError
from vit_export.data.label_file import read_labels
from vit_export.data.labels import read_config_labels

NAMES = ("T-shirt/top", "crane, bird", "Sac à main", ":smile:", "3")
LINES = "\n".join(NAMES)
PYTHON = {"list": repr(list(NAMES)), "dict": repr(dict(enumerate(NAMES)))}
WORDNET = {str(i): [f"n{i:08}", name] for i, name in enumerate(NAMES)}
TO_INDEX = {name: i for i, name in enumerate(NAMES)}
OBJECTS = [{"id": i, "name": name} for i, name in enumerate(NAMES)]
GOOD = {
    "lines": ("a.txt", LINES),
    "a blank line at the end": ("a.txt", f"{LINES}\n\n"),
    "Windows": ("a.txt", b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode()),
    "spaces around names": ("a.txt", LINES.replace("\n", " \n\t")),
    "any suffix": ("a.csv", LINES),
    "a printed list": ("a.txt", PYTHON["list"]),
    "a printed dictionary": ("a.txt", PYTHON["dict"].replace("',", "',\n")),
    "lines of a dictionary": ("a.txt", "".join(f"{i}: {n!r},\n" for i, n in enumerate(NAMES))),
    "lines of YAML": ("a.txt", "".join(f"{i}: {name}\n" for i, name in enumerate(NAMES))),
    "lines in another order": (
        "a.txt",
        "".join(f"{i}: {NAMES[i]!r},\n" for i in reversed(range(len(NAMES)))),
    ),
    "JSON": ("a.json", json.dumps(NAMES)),
    "JSON with a byte order mark": ("a.json", b"\xef\xbb\xbf" + json.dumps(NAMES).encode()),
    "JSON in a text file": ("a.txt", json.dumps(NAMES)),
    "by index": ("a.json", json.dumps({str(i): NAMES[i] for i in (3, 1, 0, 2, 4)})),
    "config.json": ("config.json", json.dumps({"id2label": dict(enumerate(NAMES)), "a": 1})),
    "imagenet_class_index.json": ("a.json", json.dumps(WORDNET)),
    "class_to_idx": ("a.json", json.dumps(TO_INDEX)),
    "class_to_idx in an object": ("a.json", json.dumps({"class_to_idx": TO_INDEX})),
    "label2id": ("a.json", json.dumps({"label2id": TO_INDEX})),
    "objects": ("a.json", json.dumps([{"name": name} for name in NAMES])),
    "objects with ids": ("a.json", json.dumps({"categories": OBJECTS[::-1]})),
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("name", "content"), GOOD.values(), ids=GOOD)
def test_a_label_file_is_understood(tmp_path, name, content):
    assert read_labels(write(tmp_path / name, content), len(NAMES)) == NAMES


def test_names_that_begin_with_numbers_stay(tmp_path):
    names = ("0 - zero", "1 - one", "2: two", "16:9")  # such as torchvision's of MNIST
    assert read_labels(write(tmp_path / "a.txt", "\n".join(names)), 4) == names


BAD = {
    "too few": ("a.txt", "ant\nbee", "does not name 3 classes, but 2: 'ant' to 'bee'"),
    "none": ("a.txt", "", "does not name 3 classes, but 0"),
    "a blank line": ("a.txt", "ant\n\nbee\n", "line 2 is empty"),
    "a hole": ("a.json", '{"0": "ant", "2": "cat", "3": "bee"}', "not name 3 classes, but 2"),
    "YAML under a key": ("a.txt", "names:\n  0: a\n  1: b", "line 1, 'names:', has no index"),
    "pairs": ("a.json", '[["a", "b"], ["c", "d"], ["e", "f"]]', "class 0 is ['a', 'b'], which is"),
    "other objects": ("a.json", '[{"x": 1}, {"x": 2}, {"x": 3}]', "class 0 is None, which is no"),
    "ids from 1": ("a.json", json.dumps([{"id": i, "name": "a"} for i in (1, 2, 3)]), "not 0 to 2"),
    "null": ("a.json", '["a", null, "c"]', "class 1 is None, which is no name"),
    "an index twice": ("a.json", '{"a": 0, "b": 1, "c": 1}', "'b' and 'c' both have index 1"),
    "numbers": ("a.json", '{"1": 0, "0": 1, "2": 2}', "keys and values are numbers"),
    "no indices": ("a.json", '{"a": "b"}', "'a' is no index of a class"),
    "a number": ("a.json", "3", "neither a list nor an object"),
    "cut": ("a.json", '["a", "b"', "can't be read"),
    "deep": ("a.json", "[" * 100_000, "nested too deeply"),
    "deep Python": ("a.txt", "[" + "-" * 100_000 + "1]", "does not name 3 classes, but 1"),
    "a newline": ("a.json", r'["a", "b\nc", "d"]', r"class 1, 'b\nc', holds U+000A"),
    "an escape": (
        "a.txt",
        "a\n\x1b]0;title\x07b\nc",
        "class 1, '\\x1b]0;title\\x07b', holds U+001B",
    ),
    "a line separator": ("a.txt", "a\u2028b\nc\nd", "holds U+2028"),
    "half a character": ("a.json", r'["a", "b", "\ud800"]', "holds U+D800"),
    "a binary file": ("a.txt", b"PNG\n\0\xff\x01", "line 2: no text"),
    "a long file": ("a.txt", "a\n" * (2**21 + 1), "has more than 4,194,304 bytes"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD)
def test_a_label_file_is_refused(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(RequestError) as refusal:
        read_labels(path, 3)
    assert message in refusal.value.message
    assert str(path) in refusal.value.message


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
        ("latin-1", "Latin-1"),
    ],
)
def test_another_encoding_is_named_and_the_fix_converts_it(tmp_path, codec, name):
    path = write(tmp_path / "my labels.txt", LINES.encode(codec))
    with pytest.raises(RequestError, match=rf"line [13]: not in UTF-8; .*{name}") as refusal:
        read_labels(path, len(NAMES))
    command, _, rest = refusal.value.fix.partition(", and name that file")
    subprocess.run(command, shell=True, check=True)  # noqa: S602 the user's shell
    assert rest == "."
    assert read_labels(tmp_path / shlex.split(command)[-1], len(NAMES)) == NAMES


def test_a_device_is_not_read_to_its_end():
    with pytest.raises(RequestError, match="/dev/zero is a device"):
        read_labels(Path("/dev/zero"), 3)


def test_a_pipe_that_does_not_end_is_read_up_to_a_bound(tmp_path):
    pipe = tmp_path / "names"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", 'exec yes >"$0"', pipe]) as process:
        try:
            with pytest.raises(RequestError, match="has more than 4,194,304 bytes"):
                read_labels(pipe, 3)
        finally:
            process.kill()


CONFIGS = {
    "a newline": ({"id2label": {"0": "a\nb", "1": "c"}}, r"'a\\nb', holds U\+000A"),
    "lists": ({"id2label": {"0": ["a"], "1": ["b"]}}, r"class 0 is \['a'\], which is no name"),
    "text": ({"id2label": "ant"}, "neither a list nor an object"),
    "too few": ({"label_names": ["a"]}, "names 1 classes, its tensors have 2"),
}


@pytest.mark.parametrize(("config", "message"), CONFIGS.values(), ids=CONFIGS)
def test_the_names_of_a_strange_config_are_refused(config, message):
    with pytest.raises(RequestError, match=message) as refusal:
        read_config_labels(config, 2, "x.safetensors")
    assert refusal.value.fix == "give --labels FILE."


def test_the_command_refuses_a_label_file(tmp_path, tiny_toml):
    labels = write(tmp_path / "a.txt", "a\nb\nc\nd\x1b[2J\ne\n")
    export = ("onnx", "--model", tiny_toml, "--labels", labels, "--out", tmp_path / "a.onnx")
    assert "holds U+001B" in expect_error(*export, "-q", exit_code=2)


def damage(content, rng):
    content = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(content) + 1)
        if rng.random() < 0.5:
            content[at : at + 1] = rng.choice(b"{}[]():,'\"\\\n\0\xff\x1b09-").to_bytes()
        else:
            content[at : at + rng.randrange(9)] = content[rng.randrange(len(content)) :][:9]
        content = content or bytearray(b"0")
    return bytes(content)


@pytest.mark.parametrize("count", [1500, pytest.param(60_000, marks=pytest.mark.slow)])
def test_no_label_file_ends_in_another_error(tmp_path, count):
    rng = random.Random(16)  # noqa: S311 a seed, not a secret
    seeds = [content for _, content in GOOD.values()]
    outcomes = set()
    for _ in range(count):
        seed = rng.choice(seeds)
        content = damage(seed if isinstance(seed, bytes) else seed.encode(), rng)
        path = write(tmp_path / rng.choice(["a.txt", "a.json"]), content)
        try:
            outcomes.add(len(read_labels(path, len(NAMES))))
        except RequestError as error:
            outcomes.add(error.exit_code if error.fix else "no fix")
    assert outcomes == {len(NAMES), 2}
