"""The decision core under a seeded scheduler: the real decider, reconciler and rules between a log, a ledger and replicas that fail."""
