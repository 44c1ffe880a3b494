"""The wheel holds everything and runs without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From what git would hand out: build leftovers in the tree must not help.
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = run(
        "git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "pyproject.toml", "README.md", "csqa_loop", "streams", "jobs"
    ).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--no-build-isolation", "-w", str(folder), str(source))
    (built,) = folder.glob("*.whl")
    return built


def test_holds_every_module_and_data_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    source = wheel.parent / "source"
    wanted = {
        str(file.relative_to(source))
        for package in ("csqa_loop", "streams", "jobs")
        for file in (source / package).rglob("*")
        if file.is_file()
    }
    assert {"csqa_loop/cli.py", "streams/loop.py"} <= wanted
    assert any(name.startswith("csqa_loop/scenarios/") and name.endswith(".yaml") for name in wanted)
    assert any(name.startswith("csqa_loop/scenarios/") and name.endswith(".md") for name in wanted)
    assert wanted <= names, wanted - names
    assert not [name for name in names if name.split("/")[0] not in ("csqa_loop", "streams", "jobs") and ".dist-info/" not in name]


def test_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(target), str(wheel))
    # The environment's packages after the wheel's; not the editable install, which only a site folder's .pth brings.
    path = os.pathsep.join([str(target), *(entry for entry in sys.path if entry.endswith("site-packages"))])
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": path}
    shown = run(sys.executable, "-S", str(target / "bin" / "csqa"), "--help", cwd=tmp_path, env=environment)
    assert "gateway" in shown.stdout
    where = "import csqa_loop, streams, jobs; print(csqa_loop.__file__, *streams.__path__, *jobs.__path__)"
    places = run(sys.executable, "-S", "-c", where, cwd=tmp_path, env=environment).stdout.split()
    assert len(places) == 3
    assert all(place.startswith(str(target)) for place in places)
