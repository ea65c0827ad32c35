"""What AWS tells about one database before anything is begun: what it is, and what sends applications to it."""
