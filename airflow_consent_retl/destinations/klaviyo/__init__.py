"""Klaviyo profiles as a destination, by bulk import jobs."""
