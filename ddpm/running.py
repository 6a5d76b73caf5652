"""How a script ends: Ctrl-C, closed pipes, full disks.

Scripts import it first: while torch is imported, Ctrl-C ends with a sentence already.
"""

import errno
import os
import sys

CLOSED = (errno.EPIPE, errno.EINVAL)  # a pipe that nobody reads; on Windows


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
        try:
            self.stream.write(text)
        except OSError as error:
            self.unhear(error)

    def flush(self):
        try:
            self.stream.flush()
        except OSError as error:
            self.unhear(error)

    def unhear(self, error):
        """Lead what is still to be said nowhere, if it is that nobody reads it."""
        if error.errno not in CLOSED:
            raise error
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def __getattr__(self, name):
        return getattr(self.stream, name)


def run(main):
    """Call a script's main. Ctrl-C, and what the system refuses, as a full disk or a
    file of somebody else, ends it with a sentence and exit code 1.
    """
    sys.stdout, sys.stderr = Unbroken(sys.stdout), Unbroken(sys.stderr)
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. No file was left half-written.") from None
    except OSError as error:
        if error.errno is None:  # not the system's word: a mistake of ours
            raise
        raise SystemExit(
            f"{error.filename or 'A file'} cannot be used: {error.strerror}. Give "
            "another, or put this right."
        ) from None
