"""What the numbering plans of the world's telephone networks say (libphonenumber's tables)."""

import re

_HOME = ("CN", "GB", "DE", "FR", "TW", "AT", "CH", "BE", "NL", "IT", "SE", "JP", "AU", "IE")
"""Where numbers that begin with the trunk's zero are tried."""
_TOLL_FREE = re.compile(
    r"(?:\+?86)?(?:400|800)\d{7}\Z|(?:\+?44|0)?(?:0?800|0?808)\d{6,7}\Z|(?:\+?1)?8(?:00|33|44|55|66|77|88)\d{7}\Z|00?800\d{7,8}\Z|(?:\+?33|0)80\d{7}\Z|(?:\+?49|0)180\d{7,8}\Z"
    r"|(?:\+?886|0)80[09]\d{6}\Z|(?:\+?852)?800\d{6}\Z"
)


def toll_free(digits: str) -> bool:
    """A company's: free or shared cost. `digits` may begin with a plus."""
    return _TOLL_FREE.match(digits) is not None


def real(digits: str) -> bool | None:
    """Of a number with its country code: True where the plan knows it, None where only the length is right, False for none."""
    import phonenumbers

    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return False
    if phonenumbers.is_valid_number(number):
        return True
    return None if phonenumbers.is_possible_number(number) else False


def real_at_home(digits: str) -> bool:
    """Whether a number with its trunk zero is one in a country of which customers write."""
    import phonenumbers

    for region in _HOME:
        try:
            if phonenumbers.is_valid_number_for_region(phonenumbers.parse(digits, region), region):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


def german_mobile(digits: str) -> bool:
    """01[567]... with twelve digits: as long as a barcode."""
    return re.fullmatch(r"01[567]\d{9}", digits) is not None
