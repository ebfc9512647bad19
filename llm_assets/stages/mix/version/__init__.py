"""One version of a mixture: registration, inputs, shuffle, provenance, ledger and validation set."""
