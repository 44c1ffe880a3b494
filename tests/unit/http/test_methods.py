"""HEAD and OPTIONS, of every route that there is."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from csqa_loop.http import methods, problems


def app() -> FastAPI:
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(made)
    methods.install(made)
    router = APIRouter(prefix="/v1")

    @router.get("/things/{name}")
    async def show(name: str) -> dict[str, str]:
        return {"name": name}

    @router.delete("/things/{name}")
    async def remove(name: str) -> None:
        raise AssertionError(f"{name} must not be removed by asking what is possible")

    @router.post("/orders")
    async def order() -> None:
        raise AssertionError("nothing must be ordered by asking what is possible")

    made.include_router(router)
    return made


@pytest.mark.parametrize(
    ("path", "status", "allow"),
    [("/v1/things/a", 204, "GET, HEAD, DELETE, OPTIONS"), ("/v1/orders", 204, "POST, OPTIONS"), ("/v1/nothing", 404, None)],
)
async def test_options_says_what_a_path_takes(path: str, status: int, allow: str | None) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app()), base_url="http://any") as client:
        answer = await client.options(path)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_head_is_get_without_the_body() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app()), base_url="http://any") as client:
        head, get = await client.head("/v1/things/a"), await client.get("/v1/things/a")
        assert (head.status_code, dict(head.headers), head.content) == (200, dict(get.headers), b"")
        assert (await client.head("/v1/nothing")).status_code == 404
        assert (await client.head("/v1/orders")).status_code == 405
