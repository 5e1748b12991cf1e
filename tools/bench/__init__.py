"""ustack, the kernel and the other stacks, measured side by side (`make bench`)."""
