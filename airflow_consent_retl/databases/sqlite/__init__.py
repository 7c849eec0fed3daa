"""SQLite: source."""
