"""The application: what is asked for where, and what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hddnn._version import __version__
from hddnn.errors import HddnnError
from hddnn.serving.http.requests import Intake, Limits, too_busy
from hddnn.serving.http.responses import (
    AnswersBody,
    EventStream,
    HealthBody,
    ProblemBody,
    ReplyBody,
    document,
    wants_document,
)  # fmt: skip

if TYPE_CHECKING:
    from hddnn.serving import AsyncSession

_ABOUT = """Classify images on end devices, edge devices and a cloud. `POST /classify` answers with server-sent
events: `coarse` as soon as an end device has answered, then `fine`; with `Accept: application/json` it answers
once, with both."""
_STATIC = "static-offline-docs"  # where fastapi-offline has what the page of the interface needs
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": _BINARY,
        "image/*": _BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"images": {"type": "array", "items": _BINARY["schema"], "minItems": 1}},
                "required": ["images"],
            }
        },
    },
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemBody, "description": why}
    for status, why in {
        408: "The body came too slowly",
        413: "The body is too large, or holds too many images",
        415: "Not an image, or of a format that cannot be read",
        422: "A damaged image, or wrong parameters",
        503: "The queue is full, or no end device is live; try again after Retry-After",
    }.items()
}
_EVENTS = {
    "itemSchema": {
        "type": "object",
        "properties": {
            "event": {"enum": ["coarse", "fine", "error"]},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {
                    "anyOf": [
                        {"$ref": f"#/components/schemas/{body.__name__}"} for body in (ReplyBody, ProblemBody)
                    ]
                },
            },
        },
        "required": ["event", "data"],
    }
}


class Asked(BaseModel):
    """The parameters of a request; one that is not known is refused, as it would mean nothing."""

    model_config = ConfigDict(extra="forbid")

    deadline_s: float | None = Field(
        None, gt=0, le=3600, allow_inf_nan=False, description="Seconds after which no answer is waited for."
    )


class _Heads:
    """Answer HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, send_head)
        else:
            await self._app(scope, receive, send)


def make_app(session: AsyncSession, limits: Limits, root_path: str = "") -> FastAPI:
    """Return the application that answers with a session that is open.

    root_path: what a proxy takes off the paths of requests, as in /a/b. Pages that are asked for by their own
    path need none: what they ask for in turn is relative to it.
    """
    app: FastAPI = FastAPIOffline(
        title="hddnn", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None,
        servers=[{"url": root_path or "."}],
        exception_handlers={
            RequestValidationError: _wrong_parameters, ClientDisconnect: _gone, HddnnError: _lost,
        },
    )  # fmt: skip
    intake = Intake(session, limits)

    @app.post(
        "/classify", response_class=Response, openapi_extra={"requestBody": _BODY},
        responses={
            200: {
                "model": AnswersBody, "description": "The answers",
                "content": {"text/event-stream": _EVENTS},
            },
            **_REFUSALS,
        },
    )  # fmt: skip
    async def classify(request: Request, asked: Annotated[Asked, Query()]) -> Response:
        """Classify one image, or several that are files of a form."""
        count, replies = await intake.replies(request, asked.deadline_s)
        if wants_document(request):
            return await document(request, replies, count)
        return EventStream(replies)

    @app.get(
        "/healthz", response_model=HealthBody,
        responses={503: {"model": HealthBody, "description": "No end device is live"}},
    )  # fmt: skip
    async def healthz() -> JSONResponse:
        """Say whether an end device is live, and how full the queue is."""
        health = session.health()
        return JSONResponse({**vars(health), "live": dict(health.live)}, 200 if health.ok else 503)

    page = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    page = page.replace("<head>", f'<head>\n<base href="{root_path}/" />', 1) if root_path else page

    @app.get("/", include_in_schema=False)
    async def drop_a_picture() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json", title="hddnn", swagger_js_url=f"{_STATIC}/swagger-ui-bundle.js",
            swagger_css_url=f"{_STATIC}/swagger-ui.css", swagger_favicon_url=f"{_STATIC}/favicon.png",
        )  # fmt: skip

    app.add_middleware(_Heads)
    return app


async def _wrong_parameters(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"detail": "; ".join(map(_told, error.errors()))}, 422)


def _told(fault: dict[str, Any]) -> str:
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{where} is not known; known: {', '.join(Asked.model_fields)}"
    return f"{where}: {fault['msg']}"


async def _lost(request: Request, error: Any) -> JSONResponse:
    refusal = too_busy(str(error))
    return JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)


async def _gone(request: Request, error: Any) -> Response:
    return Response(status_code=400)  # which nobody hears
