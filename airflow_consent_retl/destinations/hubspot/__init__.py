"""The HubSpot destination."""
