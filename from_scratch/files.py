"""Files are written whole or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path):
    """Yield a temporary path; at the end the file there takes the place of `path`.

    Whoever is interrupted meanwhile finds the old file or none, never half of one.
    Ends in one sentence if nothing can be written there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save raises the latter
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise SystemExit(
            f"Cannot write {path}: {reason}. Make room or give another folder."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
