"""What AWS shows about one database before a migration: what it is, and what points applications to it."""
