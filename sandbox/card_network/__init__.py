"""The simulated card network: an HTTP service with a durable ledger, the outside truth that tests compare with."""
