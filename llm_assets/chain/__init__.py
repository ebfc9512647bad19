"""How stages become partitions: inputs, work, a staged result, its checks. Knows no Dagster."""
