"""What all sections of the settings have in common."""

from pydantic import BaseModel, ConfigDict


class SettingsSection(BaseModel):
    """One concern. A name that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
