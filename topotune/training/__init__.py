"""Training of one network; torch is all it needs. It knows nothing of a search: it calls ``report`` after each epoch."""
