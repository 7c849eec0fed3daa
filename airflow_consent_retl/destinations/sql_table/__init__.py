"""The SQL table destination."""
