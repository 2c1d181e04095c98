"""Pictures: found, fetched, checked, decoded once within bounds, and resized; usable without Dagster."""
