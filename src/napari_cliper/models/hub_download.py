"""Fetching a repository's files into the hub's cache.

A file becomes part of the cache only once it is whole and its checksum is right.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import Timeout
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

from napari_cliper.cliper.steps import Step, Steps
from napari_cliper.errors import NapariCliperError
from napari_cliper.models.hub import PARTIAL, check_space, is_commit, store
from napari_cliper.models.hub_errors import EXPECTED, explained
from napari_cliper.models.schema import Repository
from napari_cliper.models.sources import Files, is_whole, share
from napari_cliper.models.transfer import Remote, Watch, WrongSize, checksum, fetch, look, watched


def download_steps(repository: Repository, names: list[str]) -> Steps[Files]:
    """`hub.download`, where the network is not forbidden."""
    folder = store(repository)
    return watched(
        lambda watch: _Download(repository, folder, watch).run(names),
        f"Asking the hub for {repository.repo}",
    )


@dataclass
class _Download:
    """The work of `hub.download`, in a thread of its own."""

    repository: Repository
    folder: Path
    watch: Watch
    name: str = ""
    done: int = 0
    total: int = 0

    def run(self, names: list[str]) -> Files:
        try:
            return self._run(names)
        except EXPECTED as error:
            raise explained(error, self.repository, self.name, self.folder.parent) from error

    def _run(self, names: list[str]) -> Files:
        revision = self.repository.revision or "main"
        commit = revision if is_commit(revision) else None
        absent: dict[str, Remote] = {}
        for name in names:
            self.name = name
            if commit is None or not self._is_right(self._link(commit, name)):
                absent[name] = self._look(commit or revision)
                # One commit for all files, should the repository change meanwhile.
                commit = commit or absent[name].commit
        assert commit is not None  # there is at least one name
        self._check_space(absent)
        for name, remote in absent.items():
            self.name = name
            self._obtain(self._link(commit, name), remote)
        if commit != revision:
            self._point(revision, commit)
        return {name: self._link(commit, name) for name in names}

    def _link(self, commit: str, name: str | None = None) -> Path:
        return self.folder / "snapshots" / commit / (name or self.name)

    def _blob(self, remote: Remote) -> Path:
        return self.folder / "blobs" / remote.etag

    def _partial(self, remote: Remote) -> Path:
        return self.folder / "blobs" / f"{remote.etag}{PARTIAL}"

    def _is_right(self, path: Path, remote: Remote | None = None) -> bool:
        """Whether a file is there with the size and the sum it should have."""
        if not path.is_file() or (remote is not None and path.stat().st_size != remote.size):
            return False
        return is_whole(path, self.name) and self._has_sum(path, remote)

    def _has_sum(self, path: Path, remote: Remote | None) -> bool:
        """Whether a file has the sum that the preset says, else the hub; any if neither does."""
        wanted = self.repository.files.get(self.name) or (remote.sum if remote else "")
        if not wanted:
            return True
        self.watch.step = replace(self.watch.step, name=f"Checking {self.name}")
        return checksum(path, self.watch) == wanted

    def _look(self, revision: str) -> Remote:
        remote = look(hf_hub_url(self.repository.repo, self.name, revision=revision), self.watch)
        wanted = self.repository.files.get(self.name)
        if wanted and remote.sum and wanted != remote.sum:
            raise NapariCliperError(
                f"{self.name} of {self.repository.repo} has another checksum on the hub than the "
                "preset says: correct it there, or name the revision that it is of."
            )
        return remote

    def _check_space(self, absent: dict[str, Remote]) -> None:
        self.total = sum(remote.size for remote in absent.values())
        there = {
            remote.etag: max(_size(self._partial(remote)), _size(self._blob(remote)))
            for remote in absent.values()
        }
        check_space(f"Fetching {self.repository.repo}", max(self.total - sum(there.values()), 0))

    def _obtain(self, link: Path, remote: Remote) -> None:
        """Put a file into the cache, or mend it there."""
        blob = self._blob(remote)
        for folder in (blob.parent, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.folder.resolve() not in link.parent.resolve().parents:
            raise NapariCliperError(
                f"{link} is damaged and lies outside the hub's cache: correct it there."
            )
        # Others may fetch the same file at the same time: one of us does, the others wait for it.
        with self._lock(remote):
            if not self._is_right(link, remote):
                link.unlink(missing_ok=True)
                if not self._is_right(blob, remote):
                    blob.unlink(missing_ok=True)  # its room was counted as free
                    self._fetch(link, remote)
                _put_in_place(blob, link)
        self.done += remote.size

    def _fetch(self, link: Path, remote: Remote) -> None:
        partial = self._partial(remote)
        commit = link.relative_to(self.folder).parts[1]
        url = hf_hub_url(self.repository.repo, self.name, revision=commit)
        try:
            fetch(url, partial, remote.size, self.watch, lambda have: self._tell(have, remote))
        except WrongSize as error:
            partial.unlink()
            raise self._damaged("size") from error
        if not self._has_sum(partial, remote):
            partial.unlink()
            raise self._damaged("checksum")
        if not is_whole(partial, self.name):
            partial.unlink()
            raise NapariCliperError(
                f"{self.name} of {self.repository.repo} is not a whole safetensors file, and was "
                "removed: only such weights are read, since others can run code, so take another "
                "repository."
            )
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut could leave an empty file of the right name
        partial.replace(self._blob(remote))

    def _tell(self, have: int, remote: Remote) -> None:
        name = f"Fetching {self.name} ({share(have, remote.size)})"
        self.watch.step = Step(name, (self.done + have) // 1000, max(self.total // 1000, 1))

    @contextmanager
    def _lock(self, remote: Remote) -> Iterator[None]:
        """The lock that the hub's own client takes for the same file."""
        path = self.folder.parent / ".locks" / self.folder.name / f"{remote.etag}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._tell(_size(self._partial(remote)), remote)
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(WeakFileLock(path, timeout=0.25))
                    break
                except Timeout:
                    self.watch.check()
            yield

    def _point(self, revision: str, commit: str) -> None:
        """Note which commit a branch is at, now that its files are here."""
        reference = self.folder / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        temporary = reference.with_name(f"{reference.name}.{os.getpid()}.tmp")
        temporary.write_text(commit)
        temporary.replace(reference)

    def _damaged(self, what: str) -> NapariCliperError:
        return NapariCliperError(
            f"{self.name} came from {self.repository.repo} with a wrong {what} and was removed: "
            "try again."
        )


def _put_in_place(blob: Path, link: Path) -> None:
    """Let a file appear under its name, as the hub's own client does."""
    if not constants.HF_HUB_DISABLE_SYMLINKS:
        with suppress(OSError):  # Windows without developer mode, and disks that have no links
            link.symlink_to(os.path.relpath(blob, link.parent))
            return
    blob.replace(link)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
