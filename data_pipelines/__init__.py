"""Documents to knowledge base, retrieval and RAFT examples."""

import rayraft  # noqa: F401  # before torch: it says how threads wait for each other
