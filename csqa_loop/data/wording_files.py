"""The package's tables of words and prompts: the one place that reads them."""

from importlib import resources
from typing import Any

from csqa_loop.data.rules.augmentation import Wording


def augmentation_wording() -> Wording:
    """Synonyms, phrasings and slips of the pen, for `csqa data augment`."""
    tables = _read("augmentation.yaml")
    return Wording(
        synonyms=tables["synonyms"],
        phrasing=tables["phrasing"],
        emotion=tables["emotion"],
        keyboard={str(key): keys for key, keys in tables["typos"]["keyboard"].items()},
        homophones=tables["typos"]["homophones"],
    )


def generation_prompts() -> dict[str, Any]:
    """What a judge model is asked, by method, for `csqa data generate`."""
    return _read("generation.yaml")


def _read(name: str) -> dict[str, Any]:
    import yaml

    tables: dict[str, Any] = yaml.safe_load(resources.files("csqa_loop.data").joinpath("wording", name).read_text(encoding="utf-8"))
    return tables
