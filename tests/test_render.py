"""What is printed, in colour and without rich: the same facts, and nothing cut."""

import io
import json
import math
import re
import sys

import pytest

from vit_export.cli.render import output
from vit_export.cli.render.blocks import Line, Span, Table, line, marked_line, row
from vit_export.cli.render.output import show_progress
from vit_export.cli.render.plain import format_plainly
from vit_export.cli.render.pretty import print_prettily
from vit_export.core.errors import RequestError
from vit_export.core.to_json import to_json

REPORT = (
    Table(
        ("sample", "batches", "top-1"),
        (
            row("photo:cat", "1, 2, 16", "same"),
            row("a name that is longer", "1", Span("DIFFERS", "red"), style="bold red"),
        ),
    ),
    marked_line("✗", "red", "photo:cat in row 3 of a batch of 16: NaN"),
    line("[red]no markup[/red] of :smile: in a path: /tmp/[1]/f.onnx"),
    Line((Span("Warning:", "bold yellow"), Span(" RANDOM"))),
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def without_colours(text):
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)


def printed_prettily(blocks, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    print_prettily(blocks, stream)
    return [text.rstrip() for text in without_colours(stream.getvalue()).splitlines()]


def printed_plainly(blocks):
    return "\n".join(map(format_plainly, blocks)).splitlines()


def test_plain_text_is_what_rich_prints(monkeypatch):
    assert printed_plainly(REPORT) == printed_prettily(REPORT, monkeypatch, columns=100)


def test_no_width_cuts_plain_text(monkeypatch):
    long = Table(("name", "note"), (row("n" * 90, ("word " * 60).rstrip()),))
    assert len(printed_prettily([long], monkeypatch, columns=40)) > 3
    name, note = printed_plainly([long])[-1].split("   ")
    assert (name, note) == ("n" * 90, ("word " * 60).rstrip())
    stream = io.StringIO()
    print_prettily([long], stream)
    assert stream.getvalue().splitlines()[-1].rstrip() == printed_plainly([long])[-1]


def test_a_terminal_shows_names_whole(monkeypatch):
    long = Table(("name", "note"), (row("n" * 90, "a note"),))
    lines = printed_prettily([long], monkeypatch, columns=40)
    assert sum(text.split("   ")[0].count("n") for text in lines[2:]) == 90


def test_a_table_without_rows_is_its_header():
    assert printed_plainly([Table(("a", "bb"), ())]) == ["a   bb", "──────"]


def test_colours_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    output.show(REPORT)
    assert "\x1b[" in sys.stdout.getvalue()


def test_no_colours_in_a_file(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    output.show(REPORT)
    assert sys.stdout.getvalue().splitlines() == printed_plainly(REPORT)


def test_a_terminal_without_rich_gets_plain_text(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(output, "find_spec", lambda _: None)
    output.show(REPORT)
    assert sys.stdout.getvalue().splitlines() == printed_plainly(REPORT)


def test_a_stream_that_lacks_a_letter_gets_another(monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    output.show(REPORT)
    sys.stdout.flush()
    assert b"? photo:cat in row 3 of a batch of 16: NaN" in content.getvalue()


def test_streams_that_are_closed_get_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    output.show(REPORT)
    output.show_json({"a": 1})
    with show_progress(quiet=False)("load"):
        pass


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_finished_stage_is_printed_with_its_time(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    with show_progress(quiet=False)("read [3] images"):
        pass
    *_, last = sys.stderr.getvalue().splitlines()
    assert re.fullmatch(r" +\d+\.\d s  read \[3\] images", without_colours(last))


def test_a_terminal_shows_the_share_of_a_stage(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with show_progress(quiet=False)("build in TensorRT") as report_share:
        report_share(0.5)
        while "50%" not in terminal.getvalue():  # it is drawn anew several times a second
            pass
    assert "━" in terminal.getvalue()


def test_a_quiet_stage_prints_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with show_progress(quiet=True)("build") as report_share:
        assert report_share is None
    assert sys.stderr.getvalue() == ""


HOSTILE = {
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "right\u202eleft": r"right\u202eleft",
    "\u2066isolated\u2069": r"\u2066isolated\u2069",
    "back\rfront": r"back\rfront",
    "two\nlines": r"two\nlines",
    "caf\udce9.png": r"caf\xe9.png",
    "\u007f\ud800": r"\x7f\ud800",
    "é 猫 ✗ a:cat:b :smile: [bold]": "é 猫 ✗ a:cat:b :smile: [bold]",
}
"""What a file may hold, and what is shown."""


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_nothing_from_a_file_commands_the_terminal(monkeypatch, hostile, stream):
    monkeypatch.setattr(sys, "stdout", stream())
    monkeypatch.setattr(sys, "stderr", stream())
    shown = HOSTILE[hostile]
    output.show([line(hostile), Table((hostile,), (row(hostile),))])
    with show_progress(quiet=False)(hostile):
        pass
    for printed, times in ((sys.stdout, 3), (sys.stderr, 1)):
        text = without_colours(printed.getvalue())
        assert text.count(shown) >= times
        assert not any(c in text for c in hostile if not c.isprintable() and c not in "\r\n")


def test_an_error_keeps_its_lines_and_spells_the_rest(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    output.show_error(RequestError("no\x1b[2J\nfile", "look at \udcff."))
    assert sys.stderr.getvalue() == "Error: no\\x1b[2J\nfile\nFix: look at \\xff.\n"


@pytest.mark.parametrize(
    ("text", "shown"), [("caf\udce9", r"caf\xe9"), ("\ud800", r"\ud800"), ("é", "é")]
)
def test_json_holds_whole_characters(text, shown):
    document = json.loads(to_json({text: [text, math.inf]}))
    assert document == {shown: [shown, "inf"]}
    assert json.dumps(document, ensure_ascii=False).encode()
