"""After the search: the best settings trained anew on several seeds, tested, and pruned."""
