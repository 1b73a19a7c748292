"""What the fold does on one process, full exactly-once on a real broker, beside peers that do the same work."""
