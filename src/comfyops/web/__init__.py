"""Pages for people: what runs, what is fetched, and the buttons for it."""
