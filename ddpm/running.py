"""How a script ends: Ctrl-C, closed pipes, full disks, too little memory.

Scripts import it first: while torch is imported, Ctrl-C ends with a sentence already.
"""

import errno
import os
import re
import sys

# Nobody reads any more: a closed pipe (on Windows, EINVAL), a terminal that is gone.
UNHEARD = (errno.EPIPE, errno.EINVAL, errno.EIO)


class Unbroken:
    """A stream to print to, on and on, whether or not anybody reads it.

    `| head` is gone after ten lines, `| tee` by the same Ctrl-C: no reason to stop.
    What a console cannot show, such as a name in another script, is shown by number.
    """

    def __init__(self, stream):
        self.stream = stream or open(os.devnull, "w")  # noqa: SIM115  (it was closed)
        if hasattr(stream, "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="backslashreplace")

    def write(self, text):
        self.attempt(self.stream.write, text)

    def flush(self):
        self.attempt(self.stream.flush)

    def attempt(self, call, *args):
        """Call what may find nobody listening; OSError if a full disk listens."""
        try:
            call(*args)
        except OSError as error:
            self.unhear()
            if error.errno not in UNHEARD:
                raise OSError(
                    error.errno, error.strerror, "What it prints to"
                ) from None

    def unhear(self):
        """Lead what is still to be said nowhere."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def __getattr__(self, name):
        return getattr(self.stream, name)


def out_of_memory(error):
    """Whether memory ran out, for which torch and threads have a RuntimeError."""
    words = (
        r"out of memory|not enough memory|(can't|cannot) (allocate|start new thread)"
    )
    told = isinstance(error, RuntimeError) and re.search(words, str(error), re.I)
    return isinstance(error, MemoryError) or bool(told)


def run(main):
    """Call a script's main. Ctrl-C, and what the system refuses, as a full disk, a file
    of somebody else or memory, ends it with a sentence and exit code 1.
    """
    sys.stdout, sys.stderr = Unbroken(sys.stdout), Unbroken(sys.stderr)
    try:
        try:
            main()
        finally:
            sys.stdout.flush()  # not when Python ends: then nothing catches it
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. No file was left half-written.") from None
    except OSError as error:
        if error.errno is None:  # not the system's word: a mistake of ours
            raise
        raise SystemExit(
            f"{error.filename or 'A file'} cannot be used: {error.strerror}. Give "
            "another, or put this right."
        ) from None
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise SystemExit(
            "There is not enough memory for this. Ask for fewer or smaller pictures, "
            "or close other programs."
        ) from None
