"""The two keys of an installation: made once, kept where only the owner reads them."""

import json
import secrets as random_source
from dataclasses import dataclass
from pathlib import Path

from csqa_loop.errors import ConfigurationError
from csqa_loop.files.durable import write_once


@dataclass(frozen=True)
class Secrets:
    """`secret` keys pseudonyms and feedback tokens; `operator_key` opens the operator API and bad-case reports."""

    secret: bytes
    operator_key: str

    def __repr__(self) -> str:
        """Never show a key in a log."""
        return "Secrets(...)"


def load_or_create(file: Path) -> Secrets:
    """The keys in `file`, made on first use. Two processes that start together get the same ones.

    Raises:
        ConfigurationError: the file exists and is not what this function writes.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = {"secret": random_source.token_hex(32), "operator_key": random_source.token_urlsafe(24)}
        write_once(file, json.dumps(fresh).encode())  # where another process was first, its keys are the installation's
    try:
        kept = json.loads(file.read_text())
        return Secrets(secret=bytes.fromhex(kept["secret"]), operator_key=kept["operator_key"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{file} is damaged ({error}); restore it, or delete it to make new keys (old feedback tokens stop working)"
        raise ConfigurationError(msg) from error
