"""Reports as files that a person names."""

from pathlib import Path

from csqa_loop.analytics.html_page import Page, render
from csqa_loop.errors import PermanentError
from csqa_loop.files.durable import write_atomically


def check_page(file: Path) -> None:
    """Check before anything is asked.

    Raises:
        PermanentError: it is no .html file, or its folder does not exist.
    """
    if file.suffix.lower() not in {".html", ".htm"}:
        raise PermanentError(f"--out {file} ends in {file.suffix!r}; name an .html file")
    if not file.parent.is_dir():
        raise PermanentError(f"--out {file}: {file.parent} is not a folder")


def write_page(file: Path, report: Page, *, quiet: bool = False) -> None:
    """Write it whole, and say where unless `quiet`.

    Raises:
        PermanentError: the file cannot be written.
    """
    page = render(report)
    try:
        write_atomically(file, page)
    except OSError as error:
        raise PermanentError(f"--out {file} cannot be written: {error.strerror}") from error
    if not quiet:
        print(f"{file} written")
