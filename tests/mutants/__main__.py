"""`python -m tests.mutants [NAME]`: the tests must be red for each mutant. Status 1 where they are green."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
_COPIED = ("csqa_loop", "streams", "jobs", "tests", "pyproject.toml", "benchmarks", "docs", "deploy", "README.md")


def is_noticed(mutant: Mutant) -> bool:
    """Whether its tests fail, in a copy of the code."""
    with tempfile.TemporaryDirectory(prefix="csqa-mutant-") as folder:
        root = Path(folder)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, root / name)
        mutant.apply(root)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests]
        ran = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False)
        if ran.returncode not in {0, 1}:
            raise RuntimeError(f"mutant {mutant.name}: pytest ended with {ran.returncode}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        return ran.returncode == 1


def main(names: list[str]) -> int:
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        print(
            f"no mutant is called {', '.join(sorted(unknown))}; there are {', '.join(mutant.name for mutant in MUTANTS)}", file=sys.stderr
        )
        return 2
    survivors = 0
    for mutant in MUTANTS:
        if names and mutant.name not in names:
            continue
        began = time.monotonic()
        noticed = is_noticed(mutant)
        survivors += not noticed
        print(
            f"{mutant.name:<24} {'red, as it must be' if noticed else 'GREEN: nothing notices it'}  {time.monotonic() - began:.0f} s",
            flush=True,
        )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
