"""Asks the GraphQL endpoint as a client does."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from app.access import queries as access
from app.access.keys import Scope
from tests.support import Api


class GraphQL:
    """POST /graphql of the application behind `api`."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def post(
        self, query: str, variables: dict[str, Any] | None = None, *, key: str | None = None
    ) -> httpx.Response:
        return await self.api.client.post(
            "/graphql",
            content=msgspec.json.encode({"query": query, "variables": variables}),
            headers={
                "Authorization": f"Bearer {key or self.api.key}",
                "Content-Type": "application/json",
            },
        )

    async def data(
        self, query: str, variables: dict[str, Any] | None = None, *, key: str | None = None
    ) -> Any:
        """The data of an answer without errors."""
        answer = (await self.post(query, variables, key=key)).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def errors(
        self, query: str, variables: dict[str, Any] | None = None, *, key: str | None = None
    ) -> list[tuple[str, str]]:
        """(extensions.code, message) of each error of an answer; "" where there is no code."""
        response = await self.post(query, variables, key=key)
        assert response.status_code == 200, response.text
        errors = response.json().get("errors", [])
        return [(e.get("extensions", {}).get("code", ""), e["message"]) for e in errors]


async def other_tenant() -> str:
    """A key that may do everything, of another tenant of the same service."""
    tenant_id = await access.create_tenant("other")
    key = await access.create_key(tenant_id, name="other", scopes=[Scope.ADMIN], environment="test")
    return key.text
