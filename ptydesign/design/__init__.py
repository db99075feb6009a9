"""Which experiments to try next: the search space, proposals, and the surrogate behind the recommendations."""
