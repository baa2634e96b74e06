"""The certificate that clients are shown, where the namespace has one: a Secret that is mounted, or an empty folder."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

import structlog

from trimtab.api.names import TLS_CERTIFICATE, TLS_KEY

log = structlog.get_logger(__name__)

_BLOCK = re.compile(r"^-----BEGIN [A-Z ]+-----$.+?^-----END [A-Z ]+-----$", re.MULTILINE | re.DOTALL)


class Certificates:
    """Looks at a folder for a certificate and its key, as a Secret of type kubernetes.io/tls has them.

    Attributes:
        file: Where a certificate may lie; None where no folder is given.
        path: The certificate's file, where HAProxy may use it now.
        refused: Why it may not use what lies there; HAProxy would not start with it.
    """

    def __init__(self, folder: Path | None) -> None:
        self.file = folder / TLS_CERTIFICATE if folder else None
        self._seen: tuple[bytes, bytes] | None = None
        self._print: str | None = None
        self.path: Path | None = None
        self.refused = ""

    def look(self) -> None:
        """Read the folder. May block for as long as a file system does."""
        if self.file is None:
            return
        key = self.file.with_name(TLS_KEY)
        try:
            found = (self.file.read_bytes(), key.read_bytes())
        except OSError:  # there is none, or only a half of one
            self._seen = self._print = self.path = None
            self.refused = ""
            return
        if found == self._seen:
            return
        self._seen = found
        try:
            # A key with a passphrase would be asked for on a terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.file, key, password=lambda: b"")
            self._print = _fingerprint(found[0].decode())
            self.path, self.refused = self.file, ""
            log.info("certificate.found", sha1=self._print)
        except (ValueError, OSError) as error:
            self.path, self.refused = None, str(error)
            log.warning("certificate.refused", file=str(self.file), error=str(error))

    def asks_for_reload(self, shown: str | None) -> bool:
        """Whether a HAProxy that shows the certificate of this fingerprint (None: none) should begin or end with TLS.

        One that works goes on where what is there now does not.
        """
        return self.file is not None and not self.refused and (shown is None) != (self.path is None)

    def renewed(self, shown: str | None) -> str | None:
        """Return certificates and key in PEM for a HAProxy that shows another one; None where there is nothing new."""
        if self._seen is None or self.path is None or shown in {None, self._print}:
            return None
        return "\n".join(block for part in self._seen for block in _BLOCK.findall(part.decode()))


def _fingerprint(text: str) -> str:
    """Return the SHA-1 of the first certificate in PEM, which is what HAProxy calls it by."""
    der = ssl.PEM_cert_to_DER_cert(_BLOCK.findall(text)[0])
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
