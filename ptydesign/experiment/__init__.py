"""The kind `experiment`: which experiment is best at each dose."""
