"""One error root. A caller decides by class what to do next; the message says it to a person."""


class CsqaError(Exception):
    """Anything this system raises on purpose. The message names the thing, what is wrong with it and what would be right."""


class PermanentError(CsqaError):
    """Trying again cannot help: the record goes to the dead letters, the command exits non-zero."""


class TransientError(CsqaError):
    """The same call may succeed later: back off and retry, or answer 503."""


class ConfigurationError(PermanentError):
    """A setting or file is wrong; nothing has started."""


class UnfitError(PermanentError):
    """Examples that cannot be trained on, by the ids in `names`."""

    def __init__(self, message: str, names: tuple[str, ...]) -> None:
        super().__init__(message)
        self.names = names
