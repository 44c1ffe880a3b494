"""The page at /reviews: static files of this package. It may load and run nothing else."""

from importlib import resources

from fastapi import APIRouter
from fastapi.responses import Response

from csqa_loop.http.problems import Problem

_FILES = {
    "reviews.html": "text/html",
    "reviews.css": "text/css",
    "reviews.js": "text/javascript",
    "reviews.view.js": "text/javascript",
    "reviews.words.js": "text/javascript",
    "reviews.svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def page_router() -> APIRouter:
    """GET /reviews and its files."""
    folder = resources.files("csqa_loop.console").joinpath("static")
    files = {name: folder.joinpath(name).read_bytes() for name in _FILES}
    router = APIRouter()

    @router.get("/reviews")
    async def show_page() -> Response:
        return Response(files["reviews.html"], media_type="text/html", headers=_HEADERS)

    @router.get("/reviews/{name}")
    async def show_file(name: str) -> Response:
        if name not in files:
            raise Problem(404, detail=f"{name[:60]!r} is no file of this page")
        return Response(files[name], media_type=_FILES[name], headers=_HEADERS)

    return router
