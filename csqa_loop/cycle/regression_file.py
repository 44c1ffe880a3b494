"""What the offline gate asks beside held-out pairs, as training must know it: never to be trained on."""

from pathlib import Path

from csqa_loop.domain.errors import PermanentError


def regression_phrasings(file: str) -> tuple[str, ...]:
    """Every phrasing of every question in the file's `regression` list; none where no file is named.

    Raises:
        PermanentError: the file cannot be read, or is not what `gate.regression_file` must be.
    """
    import yaml

    if not file:
        return ()
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        asked = [question["ask"] for question in content.get("regression") or ()]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"gate.regression_file {file} cannot be read: {' '.join(str(error).split())}"
        raise PermanentError(msg) from error
    except (AttributeError, KeyError, TypeError) as error:
        msg = f"gate.regression_file {file} must be a mapping whose list `regression` names the phrasings of each question in `ask`"
        raise PermanentError(msg) from error
    return tuple(str(phrasing) for phrasings in asked for phrasing in ([phrasings] if isinstance(phrasings, str) else phrasings))
