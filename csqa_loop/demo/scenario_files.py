"""Scenario files on disk: the one place that reads them."""

from importlib import resources
from pathlib import Path

from csqa_loop.demo.scenario import Scenario, parse_scenario
from csqa_loop.errors import ConfigurationError


def packaged(name: str) -> Path:
    """A file or folder that comes with this package, for example `harbour-shop/scenario.yaml` or `demo.toml`."""
    return Path(str(resources.files("csqa_loop").joinpath("scenarios", name)))


def load_scenario(file: Path) -> Scenario:
    """A scenario with every policy file that it names.

    Raises:
        ConfigurationError: names the file and the key, what is wrong, and what would be right.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"scenario {file} does not exist; --scenario names a YAML file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"scenario {file} cannot be read: {' '.join(str(error).split())}") from error
    scenario = parse_scenario(content, where=str(file))
    folder = policy_folder(file, scenario)
    if not folder.is_dir():
        raise ConfigurationError(f"{file}: policies is {scenario.policies!r}, but {folder} is not a folder; it must hold the .md files")
    present = frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    return parse_scenario(content, where=str(file), policy_files=present)


def policy_folder(file: Path, scenario: Scenario) -> Path:
    """Where a scenario's policies lie."""
    return file.parent / scenario.policies
