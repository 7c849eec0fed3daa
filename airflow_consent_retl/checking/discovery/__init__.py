"""The finder of consent in a model: what its columns and a sample look like, and a draft of the consent mapping.

It proposes and never decides: a person reads the draft, and `check` has to accept it. No value of a row is shown.
"""
