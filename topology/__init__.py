"""Every Bytewax dataflow, one module each, and what they stand on: the domain, the processors, the Kafka runtime."""
