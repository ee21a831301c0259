"""How hypothesis searches here: the same cases in every run, and no limit of time on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=150)
settings.register_profile("search", deadline=None, max_examples=3000)
settings.load_profile("steady")
