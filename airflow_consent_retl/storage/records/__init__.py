"""Records of people: what was decided about each person, and what was sent to each destination, by keyed digest.

Only changes are recorded, once, in signed documents with Parquet parts that are sorted by digest. No value of a row is
in them.
"""
