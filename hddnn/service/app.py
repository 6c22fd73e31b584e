"""The application: what is asked for where, and what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.requests import ClientDisconnect

from hddnn._version import __version__
from hddnn.errors import HddnnError
from hddnn.service.answers import (
    AnswersBody,
    EventStream,
    HealthBody,
    ProblemBody,
    ReplyBody,
    document,
    wants_document,
)  # fmt: skip
from hddnn.service.intake import Intake, Limits, too_busy

if TYPE_CHECKING:
    from hddnn.serving import AsyncSession

_ABOUT = """Classify images on end devices, edge devices and a cloud. `POST /classify` answers with server-sent
events: `coarse` as soon as an end device has answered, then `fine`; with `Accept: application/json` it answers
once, with both."""
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
DeadlineS = Annotated[
    float | None,
    Query(gt=0, le=3600, allow_inf_nan=False, description="Seconds after which no answer is waited for."),
]


def make_app(session: AsyncSession, limits: Limits) -> FastAPI:
    """Return the application that answers with a session that is open."""
    app: FastAPI = FastAPIOffline(
        title="hddnn", version=__version__, description=_ABOUT, redoc_url=None,
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
    async def classify(request: Request, deadline_s: DeadlineS = None) -> Response:
        """Classify one image, or several that are files of a form."""
        count, replies = await intake.replies(request, deadline_s)
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

    @app.get("/", include_in_schema=False)
    async def drop_a_picture() -> HTMLResponse:
        return HTMLResponse(page)

    return app


async def _wrong_parameters(request: Request, error: Any) -> JSONResponse:
    told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return JSONResponse({"detail": told}, 422)


async def _lost(request: Request, error: Any) -> JSONResponse:
    refusal = too_busy(str(error))
    return JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)


async def _gone(request: Request, error: Any) -> Response:
    return Response(status_code=400)  # which nobody hears
