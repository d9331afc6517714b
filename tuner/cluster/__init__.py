"""Ray as a process joins it, and sweeps as jobs: of a Ray cluster, or as a process of this machine."""
