"""What measured patterns say of themselves: one estimate in each module, each with how sure it is."""
