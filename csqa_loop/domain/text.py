"""Texts as they are compared."""

import unicodedata


def normalised(text: str) -> str:
    """Letters and digits alone, case and width folded: two spellings of one sentence are equal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())
