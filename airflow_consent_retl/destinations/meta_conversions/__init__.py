"""Events for Meta's Conversions API."""
