"""What a developer runs on one machine: the local stack (`stack`) and the simulated card network (`card_network`)."""
