"""Does everything that serves agree with the current deployment: disk, replicas, gateways."""

import httpx

from csqa_loop.console.parts import ConsoleParts
from csqa_loop.events import BASE, DeploymentChanged, now

_SECONDS = 3.0


async def disagreements(parts: ConsoleParts, deployment: DeploymentChanged | None) -> list[tuple[str, str]]:
    """(where, what it lacks) of everything that does not serve what the deployment says."""
    if deployment is None:
        return [("deployment", "none is known")]
    await parts.reconciler.reconcile(deployment, now(), patience=_SECONDS)
    disagreements = parts.reconciler.disagreements(deployment, now())
    for adapter in {deployment.champion, deployment.challenger, deployment.candidate} - {None, BASE}:
        if not (parts.settings.adapters / str(adapter) / "adapter_model.safetensors").is_file():
            disagreements.append((str(parts.settings.adapters), f"lacks {adapter}"))
    return disagreements + await _gateway(parts.settings.gateway_url, deployment)


async def _gateway(url: str, deployment: DeploymentChanged) -> list[tuple[str, str]]:
    try:
        async with httpx.AsyncClient(timeout=_SECONDS) as client:
            readiness = (await client.get(f"{url}/ready")).json()
    except (httpx.HTTPError, ValueError) as error:
        return [(url, f"the gateway does not answer ({error!r})")]
    revision = readiness.get("deployment")
    return [] if revision == deployment.revision else [(url, f"serves revision {revision}, current is {deployment.revision}")]
