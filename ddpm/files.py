"""Files: where they lie, how one is written whole, what the user is told."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the clone


class UserError(SystemExit):
    """What the user can mend. Uncaught, it prints its sentence and exits with 1."""


@contextmanager
def replacing(path):
    """Yield a temporary path; at the end the file there takes the place of `path`.

    Whoever is interrupted meanwhile finds the old file, or none, never half of one.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save raises the latter
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise UserError(
            f"Cannot write {path}: {reason}. Make room or give another folder."
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


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
