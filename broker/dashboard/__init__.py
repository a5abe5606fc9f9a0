"""A live fleet on a page, or in a terminal: what its devices report, the links between them, and what is wrong."""
