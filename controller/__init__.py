"""The replication side of encryptdb: everything that is SQL, and the few AWS calls around it."""
