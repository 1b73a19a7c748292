"""The simulated card network's ISO 8583 side: the host at the other end of the link that docs/iso8583.md describes."""
