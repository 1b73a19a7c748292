"""The flows without Kafka, the network without wires, and time by hand: thousands of histories by seed."""
