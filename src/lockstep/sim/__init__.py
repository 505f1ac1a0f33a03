"""The simulator: the real replica under a seeded clock, seeded links, seeded disks and faults."""
