"""Which relations move: SQL conditions on pg_class c and pg_namespace n.

The publication is FOR ALL TABLES, so tables move as PostgreSQL publishes them (is_publishable_class): every permanent
table created after initdb, in any schema, including those of extensions.

A sequence of an extension moves if pg_extension.extconfig lists it, as in pg_dump, or if this role may set it, because
the rows numbered by it move.
"""

OWNERS = "c.oid >= 16384 AND c.relpersistence <> 't' AND n.nspname <> 'encryptdb'"
"""A relation that is not PostgreSQL's own (FirstNormalObjectId), not temporary, and not ours."""

PUBLISHED = f"c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND {OWNERS}"
"""A table or partitioned table that FOR ALL TABLES publishes. Only relkind r holds rows."""

TABLE = f"c.relkind IN ('r', 'p') AND {OWNERS}"
"""A published table, or an unlogged one: its definition moves with the snapshot, its rows do not."""

EXTENSION = """EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                   AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')"""
"""A relation that belongs to an extension."""

PERMITTED = """(CASE c.relkind WHEN 'S' THEN has_schema_privilege(n.oid, 'USAGE')
             AND has_sequence_privilege(c.oid, 'SELECT') AND has_sequence_privilege(c.oid, 'UPDATE') END)"""
"""A sequence that this role may read and set. By CASE: has_sequence_privilege fails for other relations."""

SEQUENCE = f"""c.relkind = 'S' AND {OWNERS}
   AND (NOT {EXTENSION}
        OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)) OR {PERMITTED})"""
"""A sequence whose state moves. Unless it is PERMITTED, the cutover is refused."""

APPLICATIONS = f"c.relkind IN ('r', 'p', 'm', 'S', 'f') AND {OWNERS} AND NOT {EXTENSION}"
"""A relation of an application: a database without any need not move."""
