"""How one version of a mixture is registered, read from its inputs, and written."""
