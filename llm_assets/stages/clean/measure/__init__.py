"""Statistics of a document, and what they are compared with."""
