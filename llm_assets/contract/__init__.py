"""What all partitions share, whatever their stage: links, engines, parts, ledgers of parts. Knows no Dagster."""
