"""``ustack lab cc``: congestion control algorithms compared over an emulated bottleneck, in virtual time."""
