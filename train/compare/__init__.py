"""The comparison: every way of answering, on the user's own data, and which one to use."""
