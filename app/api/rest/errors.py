"""The one place where exceptions become answers, for routes that Litestar serves itself."""

from __future__ import annotations

import os
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from app.api.rest.answers import refusal, wants_problem
from app.errors import CATALOGUE, AppError, ErrorCode

log = structlog.get_logger()

_CODE_BY_STATUS = {entry.status: code for code, entry in CATALOGUE.items() if entry.status != 409}


def exception_handlers() -> ExceptionHandlersMap:
    return {AppError: _app_error, HTTPException: _http_error, Exception: _fault}


def _app_error(request: Request[Any, Any, Any], error: AppError) -> Response[bytes]:
    request_id = "req_" + os.urandom(8).hex()
    as_problem = wants_problem(dict(request.scope["headers"]))
    answer = refusal(error, request_id, as_problem=as_problem)
    return Response(
        answer.body,
        status_code=answer.status,
        media_type=answer.content_type.decode(),
        headers={"x-request-id": request_id, **error.headers},
    )


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own refusals (no such route, wrong method) in our words."""
    code = _CODE_BY_STATUS.get(error.status_code, ErrorCode.INTERNAL_ERROR)
    return _app_error(request, AppError(code, CATALOGUE[code].title, headers=error.headers))


def _fault(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("request_failed", path=request.scope["path"], exc_info=error)
    return _app_error(request, AppError(ErrorCode.INTERNAL_ERROR, "a fault of the service"))
