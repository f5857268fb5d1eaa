"""The registry's mutations as tests send them, with answers down to what they look at."""

from __future__ import annotations

from typing import Any

from app.access.keys import Scope
from tests.api.graphql.support import GraphQL
from tests.support import Api

REFUSALS = """
  ... on NotFound { message }
  ... on StaleRevision { currentRevision }
  ... on Invalid { problems { path rule } }
  ... on NotPermitted { reason }
"""
_EVENT_TYPE = """
  name displayName owner description status compatibility revision notice { sunsetAt note }
"""
_DRAFT = "id state document summary basedOn authors revision findings { path rule severity }"

MUTATIONS = {
    "createEventType": (
        f"... on EventTypeCreated {{ eventType {{ {_EVENT_TYPE} }} warnings {{ path rule }} }}"
        " ... on Invalid { problems { path rule } }"
    ),
    **dict.fromkeys(
        (
            "describeEventType",
            "setCompatibility",
            "deprecateEventType",
            "retireEventType",
            "restoreEventType",
        ),
        f"... on EventTypeChanged {{ eventType {{ {_EVENT_TYPE} }} }} {REFUSALS}",
    ),
    **dict.fromkeys(
        ("createDraft", "editDraft", "submitDraft", "withdrawDraft", "discardDraft"),
        f"... on DraftSaved {{ draft {{ {_DRAFT} }} }} {REFUSALS}",
    ),
    "publishDraft": (
        "... on DraftPublished { version { number state forced reason publishedBy }"
        " eventType { revision } } ... on Incompatible { breakages { version path rule } }"
        f" {REFUSALS}"
    ),
}
_INPUTS = {"withdrawDraft": "EndDraftInput", "discardDraft": "EndDraftInput"}

TEXT, NUMBER = {"type": "string"}, {"type": "number"}


def document(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


class Registry:
    """One caller of the registry: everything is sent with its key."""

    def __init__(self, gql: GraphQL, key: str | None = None) -> None:
        self.gql = gql
        self.key = key

    @property
    def public_id(self) -> str:
        return (self.key or self.gql.api.key).split("_")[2]

    async def send(self, mutation: str, **given: Any) -> Any:
        """The mutation's answer, `__typename` and all."""
        name = _INPUTS.get(mutation, mutation[0].upper() + mutation[1:] + "Input")
        query = (
            f"mutation ($input: {name}!)"
            f" {{ {mutation}(input: $input) {{ __typename {MUTATIONS[mutation]} }} }}"
        )
        return (await self.gql.data(query, {"input": given}, key=self.key))[mutation]

    async def event_type(self, name: str, **given: Any) -> Any:
        answer = await self.send("createEventType", name=name, **given)
        assert answer["__typename"] == "EventTypeCreated", answer
        return answer["eventType"]

    async def draft(self, event_type: str, document: Any, **given: Any) -> Any:
        answer = await self.send("createDraft", eventType=event_type, document=document, **given)
        assert answer["__typename"] == "DraftSaved", answer
        return answer["draft"]

    async def publish(self, draft: Any, **given: Any) -> Any:
        return await self.send(
            "publishDraft", id=draft["id"], expectedRevision=draft["revision"], **given
        )

    async def published(self, event_type: str, document: Any, **given: Any) -> Any:
        """The version that a new draft of this document became."""
        answer = await self.publish(await self.draft(event_type, document), **given)
        assert answer["__typename"] == "DraftPublished", answer
        return answer["version"]


async def caller(api: Api, *scopes: Scope, name: str = "test") -> Registry:
    """A caller with a key of its own."""
    return Registry(GraphQL(api), await api.new_key(name=name, scopes=list(scopes)))
