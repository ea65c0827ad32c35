"""PostgreSQL: one module for each kind of object, and the only place that opens connections."""
