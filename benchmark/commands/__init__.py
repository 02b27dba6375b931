"""The commands of `seizure-bench`, by what they are for. Each parses, calls and prints, and no more."""
