"""The errors of the API: every refusal is an `ApiError` that knows the Status object a client gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.resources import Resource

_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One reason why an object is invalid: where, what kind of mistake, and the text after the field."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    def cause(self) -> Object:
        """The error as one of a Status' causes."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


def required(field: str, detail: str = "") -> FieldError:
    return FieldError(field, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")


def invalid_value(field: str, shown: str, detail: str) -> FieldError:
    """`shown` is the offending value as the message prints it (strings quoted, see `quote`)."""
    return FieldError(field, "FieldValueInvalid", f"Invalid value: {shown}: {detail}")


def forbidden_field(field: str, detail: str) -> FieldError:
    return FieldError(field, "FieldValueForbidden", f"Forbidden: {detail}")


def duplicate(field: str, shown: str) -> FieldError:
    return FieldError(field, "FieldValueDuplicate", f"Duplicate value: {shown}")


def unsupported(field: str, shown: str, supported: Sequence[str]) -> FieldError:
    listed = ", ".join(supported)
    return FieldError(field, "FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {listed}")


def too_long(field: str, limit: int) -> FieldError:
    return FieldError(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(field: str, count: int, limit: int) -> FieldError:
    items = "item" if limit == 1 else "items"
    return FieldError(field, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} {items}")


def unchecked() -> FieldError:
    """What a real server appends when errors kept it from evaluating the validation rules."""
    return FieldError("<nil>", "FieldValueInvalid", f"Invalid value: null: {_UNCHECKED}")


class ApiError(Exception):
    """A request that the API refuses.

    Attributes:
        status: HTTP status code.
        reason: machine-readable reason, such as NotFound; empty where Kubernetes gives none.
        details: the Status' details, or None where it has none.
        listed: the Status' metadata, that of a list.
    """

    def __init__(
        self, status: int, reason: str, message: str, details: Object | None = None, *, listed: Object | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details
        self.listed = listed or {}

    def to_status(self) -> Object:
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.listed,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        return {**status, "code": self.status}


def success(details: Object | None = None, code: int | None = None) -> Object:
    """The Status object that reports success."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        status["details"] = details
    if code is not None:
        status["code"] = code
    return status


def details_of(resource: Resource, name: str, kind: str | None = None) -> Object:
    """Details as Kubernetes orders them; the group is left out for the core group."""
    details: Object = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    return {**details, "kind": kind or resource.plural}


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource.key} "{name}" not found', details_of(resource, name))


def no_such_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: Resource, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{resource.key} "{name}" already exists', details_of(resource, name))


def conflict(resource: Resource, name: str, detail: str, kind: str | None = None) -> ApiError:
    """A write that lost: `kind` replaces the plural where Kubernetes names something else."""
    shown = f"{kind}.{resource.group}" if kind and resource.group else kind or resource.key
    message = f'Operation cannot be fulfilled on {shown} "{name}": {detail}'
    return ApiError(409, "Conflict", message, details_of(resource, name, kind))


def modified(resource: Resource, name: str) -> ApiError:
    return conflict(
        resource,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 with one cause per error, in the order given; the message says the same thing once."""
    shown = list(dict.fromkeys(str(error) for error in errors))
    listed = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    details: Object = {"name": name} if name else {}
    if group:
        details["group"] = group
    details["kind"] = kind
    details["causes"] = [error.cause() for error in errors]
    title = f"{kind}.{group}" if group else kind
    return ApiError(422, "Invalid", f'{title} "{name}" is invalid: {listed}', details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def other_namespace() -> ApiError:
    return bad_request("the namespace of the provided object does not match the namespace sent on the request")


def forbidden(resource: Resource, name: str, detail: str, causes: list[Any] | None = None) -> ApiError:
    details = details_of(resource, name)
    if causes:
        details["causes"] = causes
    return ApiError(403, "Forbidden", f'{resource.key} "{name}" is forbidden: {detail}', details)


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def expired(version: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")


def too_large_version(version: int, current: int) -> ApiError:
    details: Object = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    return ApiError(504, "Timeout", f"Timeout: Too large resource version: {version}, current: {current}", details)


_LIST_EXPIRED = "The resourceVersion for the provided list is too old."
_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


def list_expired(token: str = "") -> ApiError:
    """A list of a time that the history no longer reaches; `token` goes on with a list of today."""
    if not token:
        return ApiError(410, "Expired", _LIST_EXPIRED)
    return ApiError(410, "Expired", _CONTINUE_EXPIRED, listed={"continue": token})
