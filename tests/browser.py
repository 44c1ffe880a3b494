"""A Chromium for tests of pages: the one that CSQA_TEST_CHROMIUM names, else one of this machine. Playwright's own download is not used."""

import os
import shutil

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def executable() -> str | None:
    """Where it is."""
    named = os.environ.get("CSQA_TEST_CHROMIUM")
    return named or next((found for name in _NAMES if (found := shutil.which(name))), None)


def why_no_browser() -> str | None:
    """The reason why pages cannot be tested here, or None where they can."""
    named, found = os.environ.get("CSQA_TEST_CHROMIUM"), executable()
    if found and os.access(found, os.X_OK):
        return None
    if named:
        return f"no browser: CSQA_TEST_CHROMIUM={named} cannot be run"
    return "no browser: `apt-get install chromium` (make test does it as root), or name one with CSQA_TEST_CHROMIUM"
