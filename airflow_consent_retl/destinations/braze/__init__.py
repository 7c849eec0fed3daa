"""The Braze destination."""
