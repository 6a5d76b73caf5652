"""The machine behind the exercises. Each module imports only from those before it:

running       how a script ends
values        which are allowed
files         one user's error, files written whole or not at all
textiles      the cloths, drawn by one grammar
dataset       textiles in a folder, and any folder of pictures
looks         what pictures look like, in two numbers
pictures      blending noise, grids, PNG and GIF files
network       the U-Net, and the diffusion around it
checkpoints   find, read, recognise, load and save weights
sampling      noise, the samplers, and pictures out of both
steering      which family is drawn, and how firmly; morphs that change evenly
command_line  the flags that the scripts share, and the ranges of values
training      batches, steps, milestones, and a run that goes on where it was
"""

import sys


def _end(kind, error, trace):
    """Ctrl-C while libraries are imported ends with a sentence, as `run` does later."""
    if issubclass(kind, KeyboardInterrupt):
        raise SystemExit("\nStopped.")
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _end
