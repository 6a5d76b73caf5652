"""How a script ends: Ctrl-C, closed pipes, full disks.

Scripts import it first: while torch is imported, Ctrl-C ends with a sentence already.
"""

import os
import sys


def run(main):
    """Call a script's main. Ctrl-C, and what the system refuses, as a full disk or a
    file of somebody else, ends it with a sentence and exit code 1.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed, and nobody could print
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. No file was left half-written.") from None
    except BrokenPipeError as error:  # whoever read the output is gone
        # Python flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise (error.__context__ or SystemExit(1)) from None
    except OSError as error:
        if error.errno is None:  # not the system's word: a mistake of ours
            raise
        raise SystemExit(
            f"{error.filename or 'A file'} cannot be used: {error.strerror}. Give "
            "another, or put this right."
        ) from None
