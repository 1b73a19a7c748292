"""The language that ingress, topology and sinks share: records, codec, topics, money, identifiers.

Nothing here does any I/O beyond reading the schema files beside it.
"""
