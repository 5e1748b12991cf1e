"""Drivers own the clock, the threads and the waiting: what turns a sans-IO Stack into a running one."""
