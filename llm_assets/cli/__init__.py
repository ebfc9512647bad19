"""`llm-assets …`: for people and scripts without the UI. Imports nothing by itself."""
