"""One request, read: who sends it, what it is about, and its options."""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from trimtab.local.apiserver import eventviews
from trimtab.local.apiserver.representation import Form, one
from trimtab.local.apiserver.targets import Target
from trimtab.local.kinds.served import Served
from trimtab.local.objects import Object
from trimtab.local.registry import Registry
from trimtab.local.resources import group_version
from trimtab.local.statuses import ApiError, FieldError, bad_request, invalid

_MANAGER_LENGTH = 128


@dataclass(slots=True)
class Call:
    """A request for a resource, with the kind it is about and the warnings its answer will carry."""

    request: web.Request | web.BaseRequest
    registry: Registry
    served: Served
    target: Target
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

    def shown(self, form: Form, obj: Object) -> Object:
        """An object in the form that the client wants; tables read the object as it is kept."""
        if form.name != "Table":
            obj = self.outbound(obj)
        return one(form, self.served, obj, self.target.version, self.registry.now())

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
            raise bad_request(f'{name}: Invalid value: "{text}": must be a number') from None

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be kept. Raises ApiError 422 for anything but All."""
        values = self.request.query.getall("dryRun", [])
        if any(value != "All" for value in values):
            error = FieldError(
                "dryRun", "FieldValueNotSupported", f'Unsupported value: "{values[0]}": supported values: "All"'
            )
            raise invalid("meta.k8s.io", "CreateOptions", "", [error])
        return bool(values)

    @property
    def field_validation(self) -> str:
        value = self.option("fieldValidation") or "Warn"
        if value not in ("Strict", "Warn", "Ignore"):
            error = FieldError(
                "fieldValidation",
                "FieldValueNotSupported",
                f'Unsupported value: "{value}": supported values: "Ignore", "Strict", "Warn"',
            )
            raise invalid("meta.k8s.io", "CreateOptions", "", [error])
        return value

    @property
    def manager(self) -> str:
        """The field manager: the one the request names, else the client's name from its User-Agent."""
        name = self.option("fieldManager")
        if len(name) > _MANAGER_LENGTH:
            raise ApiError(422, "Invalid", f"fieldManager may not be more than {_MANAGER_LENGTH} bytes", {})
        return name or self.request.headers.get("User-Agent", "").partition("/")[0] or "unknown"

    async def body(self) -> bytes:
        return await self.request.read()
