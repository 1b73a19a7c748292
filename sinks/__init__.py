"""What the dataflows write to, without Bytewax or Kafka."""
