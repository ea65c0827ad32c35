"""How long a cutover holds applications, against a floor that does nothing optional, both under the same full load."""
