"""Training of one network; torch is all it needs. Knows nothing of a search: calls ``report`` after each epoch."""
