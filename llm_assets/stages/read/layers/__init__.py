"""Layers around a file's own format: compression, archives, encodings."""
