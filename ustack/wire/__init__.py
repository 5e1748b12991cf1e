"""Floor 1: bytes to records and back. Knows no connection, keeps no state, never raises on a peer's bytes."""
