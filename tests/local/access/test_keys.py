"""The cluster's secrets: who may read them, and that they stay."""

import ssl
import stat
from datetime import UTC, datetime

from trimtab.local.access.certificates import user_of
from trimtab.local.access.keys import Keys
from trimtab.local.access.users import User

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_folder_keeps_its_keys(tmp_path):
    """The same folder trusts the same authority again, and nobody else reads what is in it."""
    made = Keys.kept(tmp_path / "pki", NOW)
    assert Keys.kept(tmp_path / "pki", NOW) == made
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "pki").iterdir()}
    assert files == {"ca.crt": 0o600, "ca.key": 0o600, "sa.key": 0o600, "admin.token": 0o600}


def test_both_sides_of_a_connection_know_each_other():
    """A client that trusts the authority accepts the server by name and address, and its certificate names a user."""
    authority = Keys.new(datetime.now(UTC)).authority
    server = authority.server_context(["kubernetes.default.svc"], ["127.0.0.1"], datetime.now(UTC))
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    for name in ("kubernetes.default.svc", "127.0.0.1"):
        peer = shaken(server, client, name)
        assert peer is None
    assert user_of(None) is None


def test_client_certificates(tmp_path):
    """The subject of a certificate becomes a user with groups."""
    authority = Keys.new(datetime.now(UTC)).authority
    server = authority.server_context([], ["127.0.0.1"], datetime.now(UTC))
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    certificate, key = authority.client_certificate("bob", ["devs"], datetime.now(UTC))
    (tmp_path / "bob.pem").write_bytes(certificate + key)
    client.load_cert_chain(tmp_path / "bob.pem")
    assert user_of(shaken(server, client, "127.0.0.1")) == User("bob", ("devs", "system:authenticated"))


def shaken(server, client, name):
    """The client's certificate as the server sees it after a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (theirs, ours, theirs, ours):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ours.getpeercert()
