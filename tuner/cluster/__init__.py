"""Sweeps as jobs: of a Ray cluster, or as a process of this machine that outlives the shell."""
