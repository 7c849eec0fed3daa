"""Where permitted rows go: one file for each destination; `base` says what one is."""
