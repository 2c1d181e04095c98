"""Looks at a sample of documents and suggests a dataset specification."""

from assets.columns.infer.profile import Profile, profile_of
from assets.columns.infer.write import suggest

__all__ = ["Profile", "profile_of", "suggest"]
"""`profile_of(documents)` observes, `suggest(profile, ...)` writes commented YAML."""
