"""What lies around a file's own format: compression, archives, encodings."""
