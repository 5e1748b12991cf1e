"""ustack: a TCP/IP stack in user space. Python decides, C moves bytes."""
