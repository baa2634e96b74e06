"""What a cluster proves itself with: made once, and kept where its folder is kept."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from joserfc.jwk import ECKey

from trimtab.local.access.certificates import Authority


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of a cluster.

    Attributes:
        authority: signs certificates.
        account_key: PEM; signs the tokens of service accounts.
        admin_token: whoever shows it is the administrator.
    """

    authority: Authority
    account_key: bytes
    admin_token: str

    @classmethod
    def new(cls, now: datetime, admin_token: str = "") -> Keys:
        account_key = ECKey.generate_key("P-256").as_pem(private=True)
        return cls(Authority.new(now), account_key, admin_token or secrets.token_urlsafe(32))

    @classmethod
    def kept(cls, directory: Path, now: datetime) -> Keys:
        """Those in the directory, else new ones, which are written there for this user only."""
        names = ("ca.crt", "ca.key", "sa.key", "admin.token")
        if all((directory / name).is_file() for name in names):
            certificate, key, account_key, token = ((directory / name).read_bytes() for name in names)
            return cls(Authority(certificate, key), account_key, token.decode())
        made = cls.new(now)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        texts = (made.authority.certificate, made.authority.key, made.account_key, made.admin_token.encode())
        for name, text in zip(names, texts, strict=True):
            fresh = directory / f".{name}.new"
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(text)
            fresh.replace(directory / name)
        return made
