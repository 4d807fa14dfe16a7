"""Pages for people: the first page, with lists and search, and one for each generation."""
