"""How a key travels: `Authorization: Bearer KEY`."""


def bearer(key: str) -> dict[str, str]:
    """The header that carries `key`."""
    return {"Authorization": f"Bearer {key}"}


def key_in(authorization: str) -> str:
    """The key that a header's value carries; empty where it carries none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
