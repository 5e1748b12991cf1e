"""A network in virtual time: several stacks, links that misbehave, one heap of events, no clock and no I/O."""
