"""The command line and the settings, and nothing else."""
