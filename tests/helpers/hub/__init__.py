"""A Hugging Face Hub on loopback that keeps repositories on disk and fails when told to."""
