"""Event types, their versions and drafts, as the registry shows them. Changes nothing."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry
from strawberry.scalars import JSON

from app import clock
from app.api.graphql.connection import First, checked_first
from app.api.graphql.context import Info
from app.api.graphql.definitions import PropertyDefinition, PropertyType, shown_definitions
from app.api.graphql.registry_outcomes import (
    Breakage,
    Compatibility,
    Finding,
    shown_breakages,
    shown_findings,
)
from app.api.graphql.senders import MAX_SENDER_DAYS, Sender, senders_of
from app.process import beside_events
from app.registry.governance.checking import judge_document
from app.registry.governance.drafts import draft_findings, is_open
from app.registry.governance.queries import DraftRow, EventTypeRow, PropertyRow, VersionRow


@strawberry.enum(description="Whether events of a type are taken.")
class EventTypeStatus(Enum):
    ACTIVE = strawberry.enum_value("ACTIVE", description="They are.")
    DEPRECATED = strawberry.enum_value("DEPRECATED", description="They are, with a warning.")
    RETIRED = strawberry.enum_value("RETIRED", description="They are refused.")


@strawberry.enum(description="What a version still does.")
class VersionState(Enum):
    ACTIVE = strawberry.enum_value("active", description="The newest one: it judges events.")
    IN_GRACE = strawberry.enum_value(
        "in_grace", description="An older one; what only it accepts is taken, with a warning."
    )
    SUPERSEDED = strawberry.enum_value("superseded", description="An older one; history.")


@strawberry.enum(description="Where a draft stands.")
class DraftState(Enum):
    DRAFT = strawberry.enum_value("DRAFT", description="Being written.")
    IN_REVIEW = strawberry.enum_value("IN_REVIEW", description="Shown to others; not edited.")
    PUBLISHED = strawberry.enum_value("PUBLISHED", description="It became a version.")
    DISCARDED = strawberry.enum_value("DISCARDED", description="It will not become one.")


@strawberry.type(description="A property that a version registers, nested ones included.")
class RegisteredProperty:
    path: str = strawberry.field(
        description='Where it is in an event\'s properties: "/amount", "/line_items/*/sku".'
    )
    types: list[PropertyType] = strawberry.field(
        description="The JSON types it may have beside null; empty: any."
    )
    required: bool = strawberry.field(description="Whether its object must have it.")
    nullable: bool = strawberry.field(description="Whether null is accepted.")
    segmentable: bool = strawberry.field(description="Whether the document marks it so.")
    pii: str = strawberry.field(description="none, indirect or direct: is it personal data?")
    description: str | None = strawberry.field(description="What it is.")

    @classmethod
    def of(cls, row: PropertyRow) -> Self:
        return cls(
            path=row.path,
            types=[PropertyType(name) for name in row.types],
            required=row.required,
            nullable=row.nullable,
            segmentable=row.segmentable,
            pii=row.pii,
            description=row.description,
        )


@strawberry.type(description="What senders are told of an event type that they should not send.")
class Notice:
    since: datetime = strawberry.field(description="When it was deprecated or retired.")
    sunset_at: datetime | None = strawberry.field(
        description="By when to stop sending it. Nothing retires by itself."
    )
    note: str = strawberry.field(description="What to do instead; senders read it.")


@strawberry.type(description="A published, numbered version of an event type. It never changes.")
class EventTypeVersion:
    version_id: strawberry.Private[int]
    event_type_id: strawberry.Private[int]

    number: int = strawberry.field(description="1, 2, 3, …")
    published_at: datetime = strawberry.field(description="When it was published.")
    published_by: str = strawberry.field(
        description='Public id of the key that published it, or "cli".'
    )
    reason: str | None = strawberry.field(
        description="Why it was published; a forced one always has a reason."
    )
    forced: bool = strawberry.field(description="Whether it broke with versions before it.")
    accepted_until: datetime | None = strawberry.field(
        description="End of its grace window; null: it has none."
    )
    checksum: str = strawberry.field(
        description="SHA-256 of what the document means; order and spelling do not matter."
    )

    @strawberry.field(description="What it still does.")
    async def state(self, info: Info) -> VersionState:
        versions = await info.context.loaders.registry.versions.load(self.event_type_id)
        if versions[0].version_id == self.version_id:
            return VersionState.ACTIVE
        in_grace = self.accepted_until is not None and self.accepted_until > clock.now()
        return VersionState.IN_GRACE if in_grace else VersionState.SUPERSEDED

    @strawberry.field(description="The JSON Schema of an event's properties.")
    async def document(self, info: Info) -> JSON:
        return JSON(await info.context.loaders.registry.document.load(self.version_id))

    @strawberry.field(description="The document as typed definitions: the same in another form.")
    async def definitions(self, info: Info) -> list[PropertyDefinition] | None:
        document = await info.context.loaders.registry.document.load(self.version_id)
        return await shown_definitions(document)

    @strawberry.field(description="Every registered property; an object before its members.")
    async def properties(self, info: Info) -> list[RegisteredProperty]:
        found = await info.context.loaders.registry.properties.load(self.version_id)
        return [RegisteredProperty.of(row) for row in found]

    @classmethod
    def of(cls, row: VersionRow) -> Self:
        return cls(
            version_id=row.version_id,
            event_type_id=row.event_type_id,
            number=row.version,
            published_at=row.published_at,
            published_by=row.published_by,
            reason=row.reason,
            forced=row.forced,
            accepted_until=row.accepted_until,
            checksum=row.checksum,
        )


@strawberry.type(description="What may become a version. It has no number until it is published.")
class Draft:
    row: strawberry.Private[DraftRow]

    id: strawberry.ID = strawberry.field(description="Names it in mutations.")
    state: DraftState = strawberry.field(description="Where it stands.")
    document: JSON = strawberry.field(description="The JSON Schema of an event's properties.")
    summary: str | None = strawberry.field(description="What it is for.")
    based_on: int = strawberry.field(
        description="The newest version when it was written; 0: there was none. What was published"
        " since is not in it."
    )
    authors: list[str] = strawberry.field(
        description="Public ids of the keys that wrote it, the first one first. None of them may"
        " publish it if it is incompatible."
    )
    created_at: datetime = strawberry.field(description="When it was begun.")
    changed_at: datetime = strawberry.field(description="When it was last changed.")
    revision: int = strawberry.field(
        description="For `expectedRevision`. Raised by every change of what publishing it would do:"
        " of itself, of the versions before it, of what is said of its event type."
    )

    @strawberry.field(description="Of what it may become a version.")
    async def event_type(self, info: Info) -> EventType:
        entry = await info.context.loaders.registry.event_type.load(self.row.event_type_id)
        return EventType.of(entry)

    @strawberry.field(
        description="The document as typed definitions: the same in another form."
        " Null: it has faults that keep it from being taken apart."
    )
    async def definitions(self) -> list[PropertyDefinition] | None:
        return await shown_definitions(self.row.document)

    @strawberry.field(description="What is wrong with it by itself.")
    async def findings(self, info: Info) -> list[Finding]:
        entry = await info.context.loaders.registry.event_type.load(self.row.event_type_id)
        found = await beside_events(draft_findings, self.row.document, entry.settings)
        return shown_findings(found)

    @strawberry.field(
        description="Everything that publishing it would break. Null: it is not open any more, or"
        " an error among its findings keeps that from being judged."
    )
    async def breakages(self, info: Info) -> list[Breakage] | None:
        if not is_open(self.row):
            return None
        loaders = info.context.loaders.registry
        entry = await loaders.event_type.load(self.row.event_type_id)
        history = await loaders.history.load(self.row.event_type_id)
        verdict = await judge_document(entry, history, self.row.document)
        return shown_breakages(verdict.breakages) if verdict.is_sound else None

    @strawberry.field(description="The version that it became.")
    async def version(self, info: Info) -> EventTypeVersion | None:
        versions = await info.context.loaders.registry.versions.load(self.row.event_type_id)
        became = [row for row in versions if row.version_id == self.row.version_id]
        return EventTypeVersion.of(became[0]) if became else None

    @classmethod
    def of(cls, row: DraftRow) -> Self:
        return cls(
            row=row,
            id=strawberry.ID(str(row.draft_id)),
            state=DraftState(row.state),
            document=JSON(row.document),
            summary=row.summary,
            based_on=row.based_on,
            authors=row.authors,
            created_at=row.created_at,
            changed_at=row.changed_at,
            revision=row.revision,
        )


@strawberry.type(description="A name under which events are sent, and the rules for them.")
class EventType:
    event_type_id: strawberry.Private[int]

    name: str = strawberry.field(description="The eventType of its events.")
    display_name: str | None = strawberry.field(description="How people call it.")
    owner: str | None = strawberry.field(description="Who answers for it.")
    description: str | None = strawberry.field(description="What such an event says happened.")
    status: EventTypeStatus = strawberry.field(description="Whether its events are taken.")
    notice: Notice | None = strawberry.field(
        description="What its senders are told; null: it is active."
    )
    compatibility: Compatibility = strawberry.field(
        description="What new versions are held against."
    )
    created_at: datetime = strawberry.field(description="When it was registered.")
    revision: int = strawberry.field(description="For `expectedRevision`.")

    @strawberry.field(description="The version that judges its events; null: none is published.")
    async def current_version(self, info: Info) -> EventTypeVersion | None:
        versions = await info.context.loaders.registry.versions.load(self.event_type_id)
        return EventTypeVersion.of(versions[0]) if versions else None

    @strawberry.field(description="Its versions, newest first.")
    async def versions(self, info: Info, first: First = 50) -> list[EventTypeVersion]:
        versions = await info.context.loaders.registry.versions.load(self.event_type_id)
        return [EventTypeVersion.of(row) for row in versions[: checked_first(first)]]

    @strawberry.field(description="Drafts that can still become a version, newest first.")
    async def drafts(self, info: Info) -> list[Draft]:
        drafts = await info.context.loaders.registry.open_drafts.load(self.event_type_id)
        return [Draft.of(row) for row in drafts]

    @strawberry.field(description="The sources that still send it, the busiest first.")
    async def senders(
        self,
        info: Info,
        days: Annotated[
            int, strawberry.argument(description=f"How far to look back: 1 to {MAX_SENDER_DAYS}.")
        ] = 7,
        first: First = 50,
    ) -> list[Sender]:
        return await senders_of(info, self.event_type_id, days, first)

    @classmethod
    def of(cls, row: EventTypeRow) -> Self:
        return cls(
            event_type_id=row.event_type_id,
            name=row.name,
            display_name=row.display_name,
            owner=row.owner,
            description=row.description,
            status=EventTypeStatus(row.status),
            notice=Notice(
                since=row.status_since, sunset_at=row.sunset_at, note=row.status_note or ""
            )
            if row.status_since
            else None,
            compatibility=Compatibility(row.compatibility),
            created_at=row.created_at,
            revision=row.revision,
        )
