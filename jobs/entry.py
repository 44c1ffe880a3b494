"""What both jobs share: arguments, exit codes, one line on stderr for every error that is foreseen."""

import argparse
import errno
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from csqa_loop.errors import CsqaError, PermanentError
from csqa_loop.training.rules.shortage import shortage
from csqa_loop.training.run.directory import RunDirectory

BAD_INPUT = 2
FAILED = 1
_LITTLE_SPACE = 16 << 20
"""Bytes on a volume below which whatever went wrong may have gone wrong for that."""


class BadInputError(PermanentError):
    """The run directory is not one that a job can work on."""


def arguments(
    name: str, description: str, argv: Sequence[str] | None, *, options: Callable[[argparse.ArgumentParser], None] | None = None
) -> argparse.Namespace:
    """`RUN_DIR` and what `options` adds; argparse exits with 2 by itself."""
    parser = argparse.ArgumentParser(prog=f"python -m jobs.{name}", description=description)
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a folder that the loop wrote, such as var/runs/RUN_ID")
    if options:
        options(parser)
    return parser.parse_args(argv)


def run(name: str, run_dir: Path, work: Callable[[RunDirectory], None]) -> int:
    """Do `work` on the run directory; return the exit code: 0, 2 for bad input, 1 for any other failure, each with its line on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # The hub is asked for nothing that lies on this disk; where a base model must be downloaded, say so with HF_HUB_OFFLINE=0.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        work(RunDirectory(Path(os.path.abspath(run_dir))))  # noqa: PTH100 - a link to a run keeps its name
    except BadInputError as error:
        return _fail(name, str(error), BAD_INPUT)
    except CsqaError as error:
        return _fail(name, str(error), FAILED)
    except Exception as error:
        logging.getLogger(__name__).debug("not foreseen", exc_info=True)
        return _fail(name, explain(error, run_dir), FAILED)
    return 0


def explain(error: BaseException, run_dir: Path) -> str:
    """One line that says what a person can do about it."""
    text = " ".join(str(error).split()) or type(error).__name__
    kind, number = type(error).__name__, error.errno if isinstance(error, OSError) else None
    lacking = shortage(text)
    if number in {errno.ENOSPC, errno.EDQUOT} or lacking == "disk":
        return f"the disk is full ({text}); free some space on the volume of {run_dir} and of the adapters"
    if isinstance(error, MemoryError) or number == errno.ENOMEM or kind == "OutOfMemoryError" or lacking == "memory":
        return f"out of memory ({text[:300]}); a smaller training.batch_size or training.max_length needs less"
    if (free := _free(run_dir)) < _LITTLE_SPACE:
        return f"the disk may be full: {free >> 10} KiB are free on the volume of {run_dir} ({kind}: {text[:1000]})"
    return f"{kind}: {text[:1000]}"


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return _LITTLE_SPACE  # nothing is known


def _fail(name: str, reason: str, code: int) -> int:
    try:
        print(f"{name}: {' '.join(reason.split())}", file=sys.stderr, flush=True)
    except OSError:
        return code  # the reader has gone; the exit code still tells
    return code
