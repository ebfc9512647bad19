"""What happens to text. Arrow batches in and out; nothing here knows Dagster. Imports nothing by itself."""
