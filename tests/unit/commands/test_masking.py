"""`csqa mask`: lines in, lines out, at once."""

import json
import subprocess
import sys

from typer.testing import CliRunner

from csqa_loop.cli import app

COMMAND = (sys.executable, "-m", "csqa_loop.cli", "mask")


def run(text: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run((*COMMAND, *options), input=text, capture_output=True, timeout=60, check=False)


def test_lines_are_masked_and_everything_else_stays_byte_for_byte() -> None:
    told = run("call 13800138000\r\n\n  邮箱 li＠example．com　好\nno end".encode())
    assert told.returncode == 0
    assert told.stdout == "call [phone]\r\n\n  邮箱 [email]　好\nno end".encode()


def test_json_counts_the_kinds_of_each_line() -> None:
    told = run(b"a@b.cc c@d.ee 13800138000\nnothing\n", "--json")
    assert [json.loads(line) for line in told.stdout.splitlines()] == [
        {"text": "[email] [email] [phone]", "kinds": {"email": 2, "phone": 1}},
        {"text": "nothing", "kinds": {}},
    ]


def test_a_line_comes_back_before_the_next_is_there() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"call 13800138000\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"call [phone]\n"
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_line_that_is_not_utf_8_is_named() -> None:
    told = run(b"fine\n\xff\xfe\n")
    assert told.returncode == 1
    assert b"csqa: line 2 of standard input is not UTF-8" in told.stderr


def test_help_teaches() -> None:
    told = CliRunner().invoke(app, ["mask", "--help"])
    assert told.exit_code == 0
    assert "csqa mask < chats.txt" in told.output
    assert "[email], [phone], [card]" in told.output
    assert "CSQA_PRIVACY__OWN_DOMAINS" in told.output
