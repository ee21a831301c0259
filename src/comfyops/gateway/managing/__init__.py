"""Managing access over HTTP: tokens, users, roles, sessions and the record, by the same calls as the command line."""
