"""What is a company's own and therefore nobody's secret."""

import re
from typing import Annotated

from pydantic import field_validator
from pydantic_settings import NoDecode

from csqa_loop.settings.section import SettingsSection
from csqa_loop.text.masking import Known

_DOMAIN = re.compile(r"@?[\w-]+(?:\.[\w-]+)+\Z")
_FEWEST_DIGITS = 5


class PrivacySettings(SettingsSection):
    """Contacts that masking leaves alone, beside role addresses and toll-free numbers. All processes should have the same."""

    own_domains: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses there stay: `shop.example` covers `anna@shop.example` and `anna@mail.shop.example`."""
    own_numbers: Annotated[tuple[str, ...], NoDecode] = ()
    """Phone numbers that stay, with country code or without: `+44 20 7946 0958` covers `020 7946 0958`."""

    @field_validator("own_domains", "own_numbers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("own_domains")
    @classmethod
    def _are_domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        for domain in domains:
            if _DOMAIN.match(domain) is None:
                raise ValueError(f"{domain!r} is no domain; write it as in shop.example")
        return domains

    @field_validator("own_numbers")
    @classmethod
    def _are_numbers(cls, numbers: tuple[str, ...]) -> tuple[str, ...]:
        for number in numbers:
            if sum(map(str.isdigit, number)) < _FEWEST_DIGITS:
                raise ValueError(f"{number!r} is no phone number: it has fewer than {_FEWEST_DIGITS} digits")
        return numbers

    @property
    def known(self) -> Known:
        """As masking takes it."""
        return Known.of(self.own_domains, self.own_numbers)
