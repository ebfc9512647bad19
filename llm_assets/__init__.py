"""Raw text in, the exact rows a language model trains on out, every one accounted for. Imports nothing."""
