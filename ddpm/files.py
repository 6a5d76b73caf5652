"""Files: where they lie, how one is written whole, what the user is told."""

import os
import shutil
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the clone


class UserError(SystemExit):
    """What the user can mend. Uncaught, it prints its sentence and exits with 1."""


@contextmanager
def replacing(path):
    """Yield a temporary path; at the end the file there takes the place of `path`.

    Whoever is interrupted meanwhile, by a power cut too, finds the old file, or none,
    never half of one. Each writer has a folder of its own for it, where it has the name
    it will have, which torch.save writes into it. What one that was killed has left is
    removed an hour later.
    """
    path = Path(path)
    folder = path.parent / f".part-{uuid.uuid4().hex[:8]}"
    temporary = folder / path.name
    try:
        folder.mkdir(parents=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch.save raises the latter
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise UserError(
            f"Cannot write {path}: {reason}. Make room or give another folder."
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for left in path.parent.glob(".part-*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > 3600:
                    shutil.rmtree(left)


def sync_folder(path):
    """Have the names in a folder reach the disk, where the system can do that."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def writable(path):
    """`path` as a folder to write to, made if it is not there; else UserError."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Give another folder.") from None
    if not os.access(path, os.W_OK):
        raise UserError(f"{path} cannot be written to. Give another folder.")
    return path
