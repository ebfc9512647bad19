"""How a text is split into words."""
