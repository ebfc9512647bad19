"""The demonstration project, in YAML: one folder per source, tokenizer and mixture."""
