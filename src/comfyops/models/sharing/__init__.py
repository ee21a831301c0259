"""A models folder shared with other machines, read-only: `shelf` knows what is shared, `server` gives it out."""
