"""The load: payments signed beforehand, sent through the RPC of any network, timed until final."""
