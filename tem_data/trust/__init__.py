"""What is known of how far a detector can be trusted, and what that says of new micrographs."""
