"""Pages for people: plain files, served as they are; what they show comes from the API."""
