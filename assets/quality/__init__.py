"""Whether what was built is fit for training: measurements with limits, usable without Dagster."""
