"""Ready-made readers: one file for each vendor, which puts the vendor's columns together from formats.

A reader is a function that returns formats, records or a consent source. Documents name what it returns, so a reader
can change without changing what was recorded. A reader grants only on the vendor's explicit yes.
"""
