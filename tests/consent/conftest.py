"""Properties take the same examples in every run, however busy the machine is."""

from __future__ import annotations

import sys

from hypothesis import Phase, settings

settings.register_profile("steady", deadline=None, derandomize=True, database=None)
# A mutant is killed by the first example that fails: nobody reads the smallest one.
settings.register_profile("mutants", settings.get_profile("steady"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("mutants" if "mutmut" in sys.modules else "steady")
