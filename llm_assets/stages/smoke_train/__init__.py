"""A small model trained on a version of a mixture, to see whether it learns."""
