"""What of a database moves: conditions on pg_class c and pg_namespace n, to be put into a query's WHERE or SELECT list.

The publication is FOR ALL TABLES, so tables move as PostgreSQL publishes them (is_publishable_class): every permanent
table made after initdb, in any schema, those of extensions included. CREATE EXTENSION does not make them again: the
copy is physical and has them, with their rows.

A sequence of an extension is the extension's own affair, unless it is listed in pg_extension.extconfig: that says that
its state is the owner's data, and pg_dump goes by it too. It moves all the same where we may set it, because the rows
that were numbered by it do.
"""

OWNERS = "c.oid >= 16384 AND c.relpersistence <> 't' AND n.nspname <> 'encryptdb'"
"""A relation that is not PostgreSQL's own (FirstNormalObjectId), not temporary, and not ours."""

PUBLISHED = f"c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND {OWNERS}"
"""A table, or the root of a partitioned one, that FOR ALL TABLES publishes. Rows are in those of relkind r only."""

TABLE = f"c.relkind IN ('r', 'p') AND {OWNERS}"
"""A published table, or an unlogged one: its definition moves with the snapshot, its rows do not."""

EXTENSION = """EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                   AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')"""
"""A relation that belongs to an extension."""

PERMITTED = """(CASE c.relkind WHEN 'S' THEN has_schema_privilege(n.oid, 'USAGE')
             AND has_sequence_privilege(c.oid, 'SELECT') AND has_sequence_privilege(c.oid, 'UPDATE') END)"""
"""A sequence that our role may read and set. By CASE: has_sequence_privilege fails for anything else."""

SEQUENCE = f"""c.relkind = 'S' AND {OWNERS}
   AND (NOT {EXTENSION}
        OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)) OR {PERMITTED})"""
"""A sequence whose state moves. Where it is not PERMITTED, nothing can be moved at all."""

APPLICATIONS = f"c.relkind IN ('r', 'p', 'm', 'S', 'f') AND {OWNERS} AND NOT {EXTENSION}"
"""A relation that an owner made for an application: a database that has none needs not move."""
