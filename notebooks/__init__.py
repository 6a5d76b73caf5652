"""Each exercise as a notebook, and what the notebooks call."""
