"""The tokenizer of a project: trained on sources or read from a file, then frozen."""
