"""The page of a partition: metadata, and one report with plots drawn as SVG."""
