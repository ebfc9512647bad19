"""The stages, from landed files to training rows. Arrow batches in and out, without Dagster."""
