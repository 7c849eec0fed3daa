"""The few relational expressions of the system, compiled for an engine. No decision is made here."""
