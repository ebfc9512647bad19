"""What a person sees of a partition: metadata, one report with all plots, and plots drawn as SVG."""
