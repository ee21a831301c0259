"""Model files: which folders they lie in, and which of them are there."""
