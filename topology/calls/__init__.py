"""Processor calls: the engine that makes them, who may make one when, and what stands on record meanwhile.

`engine` runs the calls on an asyncio loop in the dataflow's thread and knows nothing of Kafka. `slots` and `circuit`
say which call may leave. `in_flight` holds the pure rules of an entry, `entries` decides the inputs of one
PaymentIntent, `side` joins all of it to the processing flow.
"""
