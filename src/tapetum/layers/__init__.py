"""Network parts that two or more systems share."""
