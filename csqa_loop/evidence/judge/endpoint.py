"""A judge behind any OpenAI-compatible chat endpoint."""

import asyncio
from collections.abc import Sequence

import httpx

from csqa_loop.errors import ConfigurationError, PermanentError, TransientError
from csqa_loop.events import ChatMessage
from csqa_loop.http.bearer import bearer
from csqa_loop.settings import JudgeSettings


class EndpointJudge:
    """Implements `Judge`.

    Raises:
        ConfigurationError: the endpoint's URL is malformed.
    """

    def __init__(self, settings: JudgeSettings) -> None:
        self._model = settings.model
        self._timeout = settings.timeout_seconds
        try:
            self._url = httpx.URL(settings.url + "/chat/completions")
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"CSQA_JUDGE__URL is {settings.url!r}, which is no URL: {error}") from error
        headers = bearer(settings.api_key.get_secret_value()) if settings.api_key else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=settings.timeout_seconds)

    @property
    def model(self) -> str:
        """The judge model's name."""
        return self._model

    async def complete(self, messages: Sequence[ChatMessage], *, max_tokens: int, temperature: float) -> str:
        """See `Judge.complete`."""
        body = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        try:
            # httpx bounds each read; a reply that drips in would take for ever.
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(self._url, json=body)
        except (httpx.HTTPError, TimeoutError) as error:
            reason = str(error) or f"not within {self._timeout:g} s"
            raise TransientError(f"the judge at {self._url} does not answer ({type(error).__name__}: {reason})") from error
        if response.status_code == 429 or response.status_code >= 500:
            raise TransientError(f"the judge at {self._url} answered {response.status_code}: {response.text[:200]}")
        if response.status_code != 200:
            raise PermanentError(f"the judge at {self._url} refused the request with {response.status_code}: {response.text[:200]}")
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise PermanentError(f"the judge at {self._url} gave no OpenAI completion ({type(error).__name__}: {error})") from error
        if content is not None and not isinstance(content, str):
            raise PermanentError(f"the judge at {self._url} gave no OpenAI completion: its content is {content!r:.80}, not a text")
        return content or ""

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.aclose()
