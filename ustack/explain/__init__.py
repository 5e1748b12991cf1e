"""What a stranger's capture shows: its TCP connections, and what is odd about them, each with its evidence."""
