"""The Google Customer Match destination."""
