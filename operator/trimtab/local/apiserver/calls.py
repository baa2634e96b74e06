"""One request, read: who sends it, what it is about, and its options."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aiohttp import web

from trimtab.local.access.attributes import attributes_of
from trimtab.local.access.escalation import check_of
from trimtab.local.access.gate import Caller
from trimtab.local.apiserver import eventviews
from trimtab.local.apiserver.listoptions import is_set
from trimtab.local.apiserver.negotiation import TABLE, Form, negotiated
from trimtab.local.apiserver.representation import one
from trimtab.local.apiserver.tables import check_include
from trimtab.local.apiserver.targets import Target
from trimtab.local.fieldselectors import of_core_events
from trimtab.local.incoming import Check
from trimtab.local.kinds.served import Served
from trimtab.local.objects import Object
from trimtab.local.registry import Registry
from trimtab.local.resources import group_version
from trimtab.local.statuses import bad_request


@dataclass
class Call:
    """A request for a resource, with the kind it is about and the warnings its answer will carry."""

    request: web.Request | web.BaseRequest
    registry: Registry
    served: Served
    target: Target
    caller: Caller
    warnings: list[str] = field(default_factory=list)

    @property
    def resource(self) -> str:
        """The resource that the registry keeps the objects under."""
        return "events" if self.target.group == eventviews.GROUP else self.served.resource.key

    def inbound(self, document: Any) -> Any:
        """What the client sent, as the registry knows it."""
        return eventviews.to_core(document) if self.target.group == eventviews.GROUP else document

    def outbound(self, obj: Object) -> Object:
        """An object of the registry, as the client knows it."""
        return eventviews.from_core(obj) if self.target.group == eventviews.GROUP else obj

    @property
    def method(self) -> str:
        """The method; custom kinds answer HEAD as they answer GET."""
        method = self.request.method
        return "GET" if method == "HEAD" and self.served.resource.custom else method

    @property
    def watches(self) -> bool:
        """Whether the query asks for a watch."""
        return is_set(self.request.query, "watch")

    def check_form(self) -> None:
        """Refuse a client that takes nothing we have, before anything is done. Raises ApiError 400, 406."""
        if self.form.name == TABLE:
            check_include(self.option("includeObject"))

    def selected_fields(self, selector: str) -> str:
        """A field selector in the registry's names. Raises ApiError 400."""
        return of_core_events(selector) if selector and self.target.group == eventviews.GROUP else selector

    @property
    def accept(self) -> str:
        return self.request.headers.get("Accept", "")

    @cached_property
    def form(self) -> Form:
        """The form that the client wants. Raises ApiError 406."""
        listed = not self.target.name and self.request.method == "GET"
        return negotiated(self.accept, custom=self.served.resource.custom, listed=listed)

    def shown(self, obj: Object) -> Object:
        """An object in the form that the client wants; tables read the object as it is kept."""
        if self.form.name != TABLE:
            obj = self.outbound(obj)
        include = self.option("includeObject")
        return one(self.form, self.served, obj, self.target.version, self.registry.now(), include)

    @property
    def kind(self) -> str:
        return self.served.resource.kind

    @property
    def api_version(self) -> str:
        return group_version(self.target.group, self.target.version)

    @property
    def namespace(self) -> str | None:
        return self.target.namespace or None

    def option(self, name: str) -> str:
        return self.request.query.get(name, "")

    def flag(self, name: str) -> bool:
        return self.option(name).lower() in ("true", "1")

    def number(self, name: str) -> int | None:
        """An option that is a number. Raises ApiError 400 where it is not."""
        text = self.option(name)
        try:
            return int(text) if text else None
        except ValueError:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None

    @property
    def check(self) -> Check | None:
        """What has to hold of what this request writes, beside the right to make it."""
        if self.caller.user.may_everything:
            return None
        return check_of(self.caller, attributes_of(self.request.method, self.request.path, self.request.query))

    async def body(self) -> bytes:
        """The whole body; a client that asked to be told when to send it is told now."""
        request = self.request
        waits = request.headers.get("Expect", "").lower() == "100-continue" and not request.content.is_eof()
        if waits and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await request.read()
