"""The rooms are what the import contract says, all of them, and what is called pure is."""

import ast
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
CONTRACTS = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
LAYERS = next(contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
ROOMS = [name.strip() for layer in LAYERS for name in layer.split("|")]
PRODUCT = sorted(file for folder in ("csqa_loop", "streams", "jobs") for file in (TOP / folder).rglob("*.py"))
PURE_ROOMS = {"events", "text", "errors.py", "loop.py"}
RULES = [
    file
    for file in PRODUCT
    if "rules" in file.parts or (file.parts[len(TOP.parts)] == "csqa_loop" and file.parts[len(TOP.parts) + 1] in PURE_ROOMS)
]
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
IMPURE_ATTRIBUTES = {
    "read_text", "write_text", "read_bytes", "write_bytes", "unlink", "mkdir", "now", "utcnow", "time", "perf_counter", "monotonic", "sleep",
    "getenv", "urandom",
}  # fmt: skip
AT_THE_EDGE = {
    # The one place where an event gets its moment and its id unless the caller gives them.
    ("csqa_loop/events/common.py", "now"),
}


def test_every_package_and_module_has_its_layer() -> None:
    children = {
        f"csqa_loop.{entry.stem}" for entry in (TOP / "csqa_loop").iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()
    }
    assert children - {"csqa_loop.__init__"} | {"streams", "jobs"} == set(ROOMS)


def test_every_layer_exists_once() -> None:
    assert len(ROOMS) == len(set(ROOMS))
    for name in ROOMS:
        path = TOP / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), name


@pytest.mark.parametrize("contract", [c for c in CONTRACTS if c["type"] == "forbidden"], ids=lambda contract: contract["name"])
def test_a_forbidden_name_is_a_module(contract: dict[str, list[str]]) -> None:
    """A name that is misspelt would forbid nothing."""
    for name in contract["forbidden_modules"]:
        assert name in sys.stdlib_module_names or importlib.util.find_spec(name), name


def test_rules_are_found() -> None:
    rooms = {file.relative_to(TOP / "csqa_loop").parts[0] for file in RULES}
    assert {"knowledge", "answering", "ledger", "evidence", "training", "gate", "experiment", "rollout", "data", "text", "events"} <= rooms


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.relative_to(TOP).as_posix())
def test_rules_open_no_file_and_look_at_no_clock(file: Path) -> None:
    where = file.relative_to(TOP).as_posix()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"{where}:{node.lineno}"
        elif isinstance(node.func, ast.Attribute) and (where, node.func.attr) not in AT_THE_EDGE:
            assert node.func.attr not in IMPURE_ATTRIBUTES, f"{where}:{node.lineno}"


@pytest.mark.parametrize("file", PRODUCT, ids=lambda file: file.relative_to(TOP).as_posix())
def test_no_file_is_too_long_to_read(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(
    "page", [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))], ids=lambda page: page.relative_to(TOP).as_posix()
)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"`((?:csqa_loop|streams|jobs|tests|benchmarks|deploy|docs|requirements)/[\w./*-]*)`", page.read_text(encoding="utf-8")
    )
    assert [path for path in named if not list(TOP.glob(path.rstrip("/")))] == []


def test_the_map_answers_where_things_are() -> None:
    architecture = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in ROOMS:
        path = room.replace(".", "/")
        assert f"`{path}/`" in architecture or f"`{path}.py`" in architecture, room
