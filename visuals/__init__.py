"""The figures of the lesson: one script a figure, drawn by draw_all."""
