"""Documents to knowledge base, retrieval and RAFT examples."""
