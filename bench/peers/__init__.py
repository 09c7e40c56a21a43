"""Servers of other projects, as their own documentation builds them; each in its own process."""
