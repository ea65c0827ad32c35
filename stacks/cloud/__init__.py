"""What AWS has, read in one place: the one door to its API, and one reading of instances and clusters."""
