"""`csqa mask`: personal data out of a stream of lines."""

import json
import sys
from collections import Counter
from typing import Annotated

import typer

from csqa_loop.errors import PermanentError
from csqa_loop.settings import load_settings
from csqa_loop.text.masking import masked

_HELP = """Mask personal data in the lines of standard input and write them to standard output, each as soon as it is read.

What is found becomes \\[email], \\[phone], \\[card], \\[iban], \\[account], \\[id] or \\[ip]; everything else of a line stays byte for byte. It is what
the gateway, the intake of the ledger, `csqa data import` and the review desk do. Addresses of desks (support@, datenschutz@), toll-free numbers, the numbers of
orders, parcels and articles, dates and amounts stay. So do the contacts in CSQA_PRIVACY__OWN_DOMAINS and CSQA_PRIVACY__OWN_NUMBERS (comma separated).

Examples:

  csqa mask < chats.txt > masked.txt

  tail -f chat.log | csqa mask

  csqa mask --json < chats.txt | jq -c 'select(.kinds != {})'

A line is one text: a number that is broken over two lines is not seen. Input is UTF-8; a line that is not stops the command with its number.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mask", help=_HELP)(mask_lines)


def mask_lines(
    as_json: Annotated[
        bool, typer.Option("--json", help='A JSON object a line: {"text": ..., "kinds": {"phone": 1}}, with how often each kind was found.')
    ] = False,
) -> None:
    """Mask standard input, a line at a time."""
    own = load_settings().privacy.known
    try:
        for number, raw in enumerate(iter(sys.stdin.buffer.readline, b""), start=1):
            line = raw.removesuffix(b"\n")
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise PermanentError(
                    f"line {number} of standard input is not UTF-8 ({error.reason} at byte {error.start}); convert it first"
                ) from error
            found = masked(text, own)
            if as_json:
                kinds = Counter(label.strip("[]") for label in found.kinds)
                told = json.dumps({"text": found.text, "kinds": dict(sorted(kinds.items()))}, ensure_ascii=False).encode()
            else:
                told = found.text.encode()
            sys.stdout.buffer.write(told + (b"\n" if as_json or raw.endswith(b"\n") else b""))
            sys.stdout.buffer.flush()
    except BrokenPipeError:  # whoever read has seen enough
        sys.stderr.close()
        raise SystemExit(0) from None
