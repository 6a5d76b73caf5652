"""Files: where they lie, how one is written whole, what the user is told."""

import os
import re
import shutil
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the clone


class UserError(SystemExit):
    """What the user can mend. Uncaught, it prints its sentence and exits with 1."""


@contextmanager
def scratch(parent):
    """Yield a new folder of one's own in `parent`, to move from what is complete.

    It is removed at the end; so are those that killed programs left an hour ago.
    """
    folder = parent / f".part-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for left in parent.glob(".part-*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > 3600:
                    shutil.rmtree(left)


@contextmanager
def replacing(path):
    """Yield a temporary path; at the end the file there takes the place of `path`.

    Whoever is interrupted meanwhile, by a power cut too, finds the old file, or none,
    never half of one. The temporary file has the name it will have, for torch.save
    writes that into it.
    """
    path = Path(os.path.realpath(path))  # what a link leads to, not the link
    try:
        with scratch(path.parent) as folder:
            temporary = folder / path.name
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch.save raises the latter
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        if re.search(r"inline_container|requested and \d+ written", reason):
            reason = "Not all of it fits"  # in torch's and NumPy's own words
        raise UserError(
            f"Cannot write {path}: {reason}. Make room or give another folder."
        ) from None


def sync_folder(path):
    """Have the names in a folder reach the disk, where the system can do that."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def name_of(path):
    """The last part of a path as text that any file and any figure can hold."""
    return os.fsencode(Path(path).name).decode("utf-8", "backslashreplace")


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


# What systems leave in folders and archives.
LITTER = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}
LITTER |= {".spotlight-v100", ".trashes", ".fseventsd", ".directory", "@eadir"}
LITTER |= {"$recycle.bin", "system volume information", "lost+found", "icon\r"}


def is_litter(name):
    """Whether a file or folder of this name is an operating system's, nobody's work."""
    return name.casefold() in LITTER or name.startswith("._")
