"""The destinations: a folder for each place that permitted rows can be sent to."""
