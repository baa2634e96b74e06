"""How a definition says that versions are converted."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from trimtab.local.names import label_1035_problems
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required, unsupported

_AT = "spec.conversion"
_REVIEWS = ("v1", "v1beta1")
_MAX_PORT = 65535


def conversion_errors(spec: Object) -> Iterator[FieldError]:
    """Everything wrong with it; a webhook that would have something to convert is refused, as none is called."""
    conversion = spec.get("conversion") or {}
    strategy = conversion.get("strategy") or ""
    webhook = conversion.get("webhook") or {}
    if not strategy:
        yield required(f"{_AT}.strategy")
    elif strategy not in ("None", "Webhook"):
        yield unsupported(f"{_AT}.strategy", quote(strategy), ['"None"', '"Webhook"'])
    if strategy != "Webhook":
        text = "should not be set when strategy is not set to Webhook"
        if webhook.get("clientConfig") is not None:
            yield forbidden_field(f"{_AT}.webhookClientConfig", text)
        if webhook.get("conversionReviewVersions"):
            yield forbidden_field(f"{_AT}.conversionReviewVersions", text)
        return
    found = [*_client_errors(webhook), *_review_errors(webhook.get("conversionReviewVersions") or [])]
    yield from found
    if not found and len(spec.get("versions") or []) > 1:
        text = "webhooks do not convert in the embedded cluster: use None, or declare one version"
        yield invalid_value(f"{_AT}.strategy", quote(strategy), text)


def _client_errors(webhook: Object) -> Iterator[FieldError]:
    at = f"{_AT}.webhookClientConfig"
    client = webhook.get("clientConfig")
    if client is None:
        yield required(at, "required when strategy is set to Webhook")
        return
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        yield required(at, "exactly one of url or service is required")
    elif url is not None:
        yield from _url_errors(url, f"{at}.url")
    else:
        yield from _service_errors(service, f"{at}.service")


def _url_errors(url: str, at: str) -> Iterator[FieldError]:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        yield required(at, f"url must be a valid URL: {error}{form}")
        return
    if parts.scheme != "https":
        yield invalid_value(at, quote(parts.scheme), f"'https' is the only allowed URL scheme{form}")
    if not parts.netloc:
        yield invalid_value(at, quote(parts.netloc), f"host must be specified{form}")
    if parts.username is not None:
        yield invalid_value(at, quote(parts.username), "user information is not permitted in the URL")
    if parts.fragment:
        yield invalid_value(at, quote(parts.fragment), "fragments are not permitted in the URL")
    if parts.query:
        yield invalid_value(at, quote(parts.query), "query parameters are not permitted in the URL")


def _service_errors(service: Object, at: str) -> Iterator[FieldError]:
    if not service.get("name"):
        yield required(f"{at}.name", "service name is required")
    if not service.get("namespace"):
        yield required(f"{at}.namespace", "service namespace is required")
    port = service.get("port", 443)
    if not 1 <= port <= _MAX_PORT:
        text = "port is not valid: must be between 1 and 65535, inclusive"
        yield invalid_value(f"{at}.port", quote(port), text)


def _review_errors(versions: list[str]) -> Iterator[FieldError]:
    at = f"{_AT}.conversionReviewVersions"
    if not versions:
        yield required(at)
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            yield invalid_value(f"{at}[{index}]", quote(version), "duplicate version")
            continue
        for text in label_1035_problems(version):
            yield invalid_value(f"{at}[{index}]", quote(version), text)
    if not any(version in _REVIEWS for version in versions):
        yield invalid_value(at, quote(versions), f"must include at least one of {', '.join(_REVIEWS)}")
