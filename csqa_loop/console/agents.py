"""The keys to the review queue."""

from csqa_loop.console.parts import ConsoleParts
from csqa_loop.errors import ConfigurationError
from csqa_loop.http.keys import OPERATOR, holder
from csqa_loop.http.problems import Problem


class Agents:
    """Every agent's own key, and the operator's."""

    def __init__(self, parts: ConsoleParts) -> None:
        """Raises ConfigurationError where two agents have one key, or one is named as the operator."""
        self._keys = {OPERATOR: parts.secrets.operator_key}
        for name, key in parts.settings.console.agent_keys.items():
            if name in self._keys:
                raise ConfigurationError(
                    f"CSQA_CONSOLE__AGENT_KEYS names {name!r}, which is whoever has the operator key; name the agent otherwise"
                )
            same = [agent for agent, agent_key in self._keys.items() if agent_key == key.get_secret_value()]
            if same:
                raise ConfigurationError(
                    f"CSQA_CONSOLE__AGENT_KEYS gives {name!r} the key of {same[0]!r}; every agent needs a key of their own"
                )
            self._keys[name] = key.get_secret_value()

    def named_by(self, authorization: str) -> str:
        """The agent.

        Raises:
            Problem: 401.
        """
        refusal = Problem(
            401, "Agent key needed", "send 'Authorization: Bearer KEY' with your key of CSQA_CONSOLE__AGENT_KEYS, or the operator key"
        )
        return holder(authorization, self._keys, refusal)
