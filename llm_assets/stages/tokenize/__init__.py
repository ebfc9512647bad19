"""Token ids of documents."""
