"""Every mutant still changes what it is meant to change."""

import shutil
from pathlib import Path

import pytest

from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies(mutant: Mutant, tmp_path: Path) -> None:
    (tmp_path / mutant.file).parent.mkdir(parents=True)
    shutil.copy(ROOT / mutant.file, tmp_path / mutant.file)
    mutant.apply(tmp_path)
    changed = (tmp_path / mutant.file).read_text()
    assert changed != (ROOT / mutant.file).read_text()
    compile(changed, mutant.file, "exec")
    assert all((ROOT / name.partition("::")[0]).exists() for name in mutant.tests if not name.startswith("-"))
