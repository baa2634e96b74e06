"""Files on a disk or mounted volume: file:///models/digits."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet, Stalled
from trimtab.store.base import StoredFile

_PARTIAL = ".partial-"
_OLD = ".old-"
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class FileStore:
    """A file or folder by its absolute path."""

    uri: str
    path: Path
    field: str
    missing: str

    @classmethod
    def at(cls, uri: str, field: str, missing: str) -> FileStore:
        parts = urlsplit(uri)
        path = Path(unquote(parts.path))
        if parts.netloc not in {"", "localhost"} or not path.is_absolute() or ".." in path.parts:
            raise Stalled(
                Reason.INVALID_SPEC, f"{field}: {uri} is no absolute path; write it like file:///models/digits"
            )
        return cls(uri, path, field, missing)

    def files(self) -> list[StoredFile]:
        with self._translated():
            if self.path.is_file():
                return [StoredFile(self.path.name, self.path.stat().st_size)]
            found = [StoredFile(name, path.stat().st_size) for name, path in sorted(self._walk())]
        if not found:
            raise self._nothing()
        return found

    def fetch(self, file: str, to: Path) -> None:
        with self._translated(writes=False):
            source = self.path if self.path.is_file() else self._inside(self.path / file)
            shutil.copyfile(source, to)

    def read(self, file: str) -> bytes | None:
        with self._translated():
            try:
                return self._inside(self.path / file).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def publish(self, folder: Path) -> None:
        """Copy beside the target, flush to the disk, rename: a reader sees all of it or nothing."""
        with self._translated():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._partial() as partial:
                shutil.copytree(folder, partial, dirs_exist_ok=True)
                _flush(partial)
                partial.chmod(0o755)  # mkdtemp makes it 0700, but pods of another user read it
                self._swap(partial)
            _flush_directory(self.path.parent)

    def remove(self) -> None:
        with self._translated(), suppress(FileNotFoundError):
            old = self.path.with_name(f".{self.path.name}{_OLD}{os.getpid()}")
            self.path.rename(old)  # a reader sees all of it or nothing
            shutil.rmtree(old)

    def clean(self) -> None:
        """Remove partial copies whose writer is gone: the lock on them is free."""
        with self._translated():
            for leftover in (*self.path.parent.glob(f".*{_PARTIAL}*"), *self.path.parent.glob(f".*{_OLD}*")):
                with suppress(OSError), _locked(leftover, wait=False):
                    shutil.rmtree(leftover, ignore_errors=True)

    def _swap(self, partial: Path) -> None:
        try:
            partial.rename(self.path)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            old = self.path.with_name(f".{self.path.name}{_OLD}{partial.name.rpartition('-')[2]}")
            self.path.rename(old)  # the caller found it unusable
            partial.rename(self.path)
            shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _partial(self) -> Iterator[Path]:
        """Own a locked folder beside the target; the kernel frees the lock when its owner is killed."""
        partial = Path(tempfile.mkdtemp(prefix=f".{self.path.name}{_PARTIAL}", dir=self.path.parent))
        try:
            with _locked(partial, wait=True):
                yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _walk(self) -> Iterator[tuple[str, Path]]:
        """Yield visible files; hidden folders are how ConfigMap volumes keep their versions."""
        for folder, folders, names in os.walk(self.path, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in (*names, *[name for name in folders if (Path(folder) / name).is_symlink()]):
                path = Path(folder) / name
                if not name.startswith(".") and self._inside(path).is_file():
                    yield path.relative_to(self.path).as_posix(), path

    def _inside(self, path: Path) -> Path:
        real = path.resolve()
        if not real.is_relative_to(self.path.resolve()):
            name = path.relative_to(self.path)
            raise Stalled(
                Reason.SOURCE_INVALID,
                f"{self.field}: {self.uri}: {name} is a link out of the folder, which is refused; put the file itself "
                "there",
            )
        return real

    def _nothing(self) -> Stalled:
        return Stalled(
            self.missing,
            f"{self.field}: {self.uri} does not exist or is empty; put the files there, or correct the path "
            "(it is looked up where the pod runs: the volume must be mounted there)",
        )

    @contextmanager
    def _translated(self, *, writes: bool = True) -> Iterator[None]:
        """Turn the system's errors into ours; a full disk is the caller's own unless this store `writes`."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise self._nothing() from None
        except PermissionError as error:
            raise Stalled(
                Reason.ACCESS_DENIED,
                f"{self.field}: {self.uri}: no permission for {error.filename or self.path}; allow user {os.getuid()}, "
                "for example through the pod's fsGroup",
            ) from None
        except OSError as error:
            if _is_full(error):
                if not writes:
                    raise
                raise NotYet(
                    Reason.DISK_FULL, f"{self.field}: {self.uri}: its volume is full; free space there, or enlarge it"
                ) from None
            raise NotYet(
                Reason.STORE_UNREACHABLE, f"{self.field}: {self.uri}: {error.strerror or error}; check the volume"
            ) from error


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock on a folder; raises BlockingIOError when somebody else does and `wait` is false."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            _flush_directory(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _flush_directory(folder)


def _flush_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_full(error: OSError) -> bool:
    """Whether there was no room. shutil.copytree collects what failed as text."""
    return error.errno in _FULL or (isinstance(error, shutil.Error) and os.strerror(errno.ENOSPC) in str(error))


def _raise(error: OSError) -> None:
    raise error
