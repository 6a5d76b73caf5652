"""What draws the pages: their figures, the mistakes to find, the exercises solved."""
