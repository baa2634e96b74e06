"""What others need to check the tokens of service accounts: OpenID Connect discovery."""

from __future__ import annotations

from aiohttp import web

from trimtab.local.access.tokens import ALGORITHM, ISSUER, TokenIssuer
from trimtab.local.encodings import to_json

_KEYS = "/openid/v1/jwks"


def document(tokens: TokenIssuer, path: str, url: str) -> web.Response | None:
    """The document of a path, or None where it has none; `url` is where the API server listens."""
    match path.rstrip("/"):
        case "/.well-known/openid-configuration":
            configuration = {
                "issuer": ISSUER,
                "jwks_uri": f"{url}{_KEYS}",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
            }
            return _public(configuration, "application/json")
        case "/openid/v1/jwks":
            return _public(tokens.key_set(), "application/jwk-set+json")
    return None


def _public(content: object, content_type: str) -> web.Response:
    headers = {"Cache-Control": "public, max-age=3600", "Content-Type": content_type}
    return web.Response(body=to_json(content), headers=headers)
