"""The same fold in Quix Streams, in an environment of its own: a peer of `make bench-fold`."""
