"""The queries of preflight, each runnable in psql. Their number does not grow with what is in a database."""

from encryptdb.controller.postgres import catalog

SETTINGS_SQL = """
-- What the server is set to, in the units of pg_settings.
SELECT name, setting FROM pg_settings WHERE name = ANY (%s)
"""

SETTINGS = (
    "server_version_num",
    "wal_level",
    "track_commit_timestamp",
    "max_replication_slots",
    "max_active_replication_origins",
    "max_wal_senders",
    "max_worker_processes",
    "max_logical_replication_workers",
    "max_slot_wal_keep_size",
    "max_prepared_transactions",
    "max_connections",
    "superuser_reserved_connections",
    "shared_preload_libraries",
    "log_statement",
    "log_min_duration_statement",
    "ssl",
    "pg_partman_bgw.dbname",
)

ROLE_SQL = """
-- The controller's own role. Only its own attributes count for CREATEDB, REPLICATION and superuser: they are
-- never inherited. On RDS, membership in rds_replication stands for REPLICATION.
SELECT r.rolname::text AS name, r.rolsuper AS superuser, r.rolinherit AS inherit,
       r.rolcreatedb OR r.rolsuper AS create_database,
       r.rolreplication OR r.rolsuper
         OR COALESCE(pg_has_role(to_regrole('rds_replication'), 'MEMBER'), false) AS may_replicate,
       pg_has_role('pg_signal_backend', 'USAGE') AS may_signal,
       pg_has_role('pg_read_all_stats', 'USAGE') AS may_see,
       pg_has_role('pg_read_all_settings', 'USAGE') AS may_read_settings,
       COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
       to_regrole('rds_superuser') IS NOT NULL AS rds
  FROM pg_roles r WHERE r.rolname = current_user
"""

RECOVERY_SQL = """
-- Replica or not.
SELECT pg_is_in_recovery()
"""

AURORA_SQL = """
-- Only Aurora has this function; not every version of it lists it in pg_proc.
SELECT aurora_version()
"""

DATABASES_SQL = """
-- Every database but PostgreSQL's, RDS's and our own. ALTER DATABASE needs the privileges of the owner.
SELECT d.oid::bigint AS oid, d.datname::text AS name, pg_get_userbyid(d.datdba)::text AS owner,
       pg_has_role(d.datdba, 'USAGE') AS owned,
       has_database_privilege(d.oid, 'CONNECT') AS connect,
       d.datallowconn AS allow_connections, d.datistemplate AS template,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
            THEN pg_database_size(d.oid) ELSE 0 END::bigint AS bytes,
       EXISTS (SELECT FROM pg_db_role_setting s, unnest(s.setconfig) c
                WHERE s.setdatabase = d.oid AND c IN ('default_transaction_read_only=on',
                                                      'default_transaction_read_only=true')) AS read_only
  FROM pg_database d WHERE d.datname <> ALL (%s) ORDER BY d.oid
"""

SLOTS_SQL = """
-- Every slot that outlives its session.
SELECT slot_name::text AS name, database::text, plugin::text, wal_status,
       safe_wal_size::bigint AS safe_wal_bytes
  FROM pg_replication_slots WHERE NOT temporary ORDER BY 1
"""

SUBSCRIPTIONS_SQL = """
-- Every subscription; only the columns that everyone may read.
SELECT s.subname::text AS name, d.datname::text AS database, s.subenabled AS enabled
  FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid ORDER BY 1
"""

PREPARED_SQL = """
-- Transactions between PREPARE TRANSACTION and its end.
SELECT gid, owner::text, database::text FROM pg_prepared_xacts ORDER BY prepared
"""

WRITERS_SQL = """
-- Transactions of clients that have written something: making a slot waits for each of them.
SELECT pid, usename::text AS role, datname::text AS database, application_name AS application,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_seconds
  FROM pg_stat_activity
 WHERE backend_xid IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
 ORDER BY xact_start
"""

ROLE_USERS_SQL = """
-- Sessions of the controller's role that are not the controller's.
SELECT pid, usename::text AS role, datname::text AS database, application_name AS application,
       NULL::float8 AS transaction_seconds
  FROM pg_stat_activity
 WHERE usename = current_user AND backend_type = 'client backend' AND datname IS NOT NULL
   AND application_name NOT LIKE 'encryptdb %%' AND datname <> ALL (%s)
 ORDER BY pid
"""

COUNTS_SQL = """
-- What is in use. Workers: whatever is neither PostgreSQL's own process, nor an apply or parallel worker; the
-- launcher of logical replication is one of them.
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
       (SELECT count(*) FROM pg_stat_replication WHERE application_name NOT LIKE %s)::int AS senders,
       (SELECT count(*) FROM pg_stat_activity
         WHERE backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'checkpointer',
               'background writer', 'walwriter', 'walsender', 'walreceiver', 'startup', 'archiver', 'logger',
               'walsummarizer', 'slotsync worker', 'io worker', 'standalone backend', 'parallel worker')
           AND backend_type NOT LIKE 'logical replication%%worker'
           AND backend_type NOT LIKE 'aurora %%')::int AS workers
"""

POSITION_SQL = """
-- Where WAL is written (or replayed, on a replica), in bytes, and the server's own clock in seconds. Aurora tells
-- no position while wal_level is below logical.
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0')::float8,
       extract(epoch FROM clock_timestamp())::float8
"""

WAL_AVERAGE_SQL = """
-- WAL written per second since the statistics were reset (from PostgreSQL 14; not on Aurora).
SELECT (wal_bytes / GREATEST(extract(epoch FROM clock_timestamp() - stats_reset), 60))::float8 FROM pg_stat_wal
"""

TABLES_SQL = f"""
-- Every table that FOR ALL TABLES publishes, with unlogged ones and partitioned roots, and whether its changes can
-- be published and applied. A deferrable primary key is not immediate, and so no identity. Nothing here locks a table,
-- so sizes are those of the last VACUUM or ANALYZE.
SELECT n.nspname::text AS schema, c.relname::text AS name, c.oid::bigint AS oid,
       o.rolname::text AS owner, o.rolsuper AS owner_superuser,
       c.relkind = 'p' AS partitioned, c.relispartition AS partition, c.relpersistence = 'u' AS unlogged,
       {catalog.EXTENSION} AS extension,
       c.relreplident::text AS identity,
       c.relreplident = 'f' OR key.indexrelid IS NOT NULL AS usable,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
                  AND (i.indisprimary OR i.indisreplident)) AS keyed,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> ''
                  AND a.attnum = ANY ((key.indkey::int2[])[0 : key.indnkeyatts - 1])) AS generated_in_key,
       columns.generated, candidate.name AS candidate, columns.unequal,
       row_security_active(c.oid) AS row_security, c.relforcerowsecurity AS forced,
       ARRAY(SELECT p FROM unnest('{{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}}'::text[]) p
              WHERE NOT has_table_privilege(c.oid, p)) AS missing,
       has_schema_privilege(n.oid, 'USAGE') AS schema_usage,
       c.relpages::bigint * current_setting('block_size')::bigint AS bytes,
       COALESCE(pg_stat_get_tuples_updated(c.oid) + pg_stat_get_tuples_deleted(c.oid), 0)::bigint AS writes,
       columns.signature
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_roles o ON o.oid = c.relowner
  LEFT JOIN LATERAL (
       SELECT i.indexrelid, i.indkey, i.indnkeyatts FROM pg_index i
        WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
          AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
        LIMIT 1) key ON true
  LEFT JOIN LATERAL (
       SELECT min(x.relname::text) AS name FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
          AND i.indpred IS NULL AND i.indexprs IS NULL
          AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
                             AND a.attnum = ANY ((i.indkey::int2[])[0 : i.indnkeyatts - 1])
                             AND (NOT a.attnotnull OR a.attgenerated <> ''))) candidate ON true
  CROSS JOIN LATERAL (
       SELECT COALESCE(bool_or(a.attgenerated <> ''), false) AS generated,
              COALESCE(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE base.oid IN
                ('json'::regtype, 'xml'::regtype, 'jsonpath'::regtype, 'point'::regtype, 'lseg'::regtype,
                 'path'::regtype, 'box'::regtype, 'polygon'::regtype, 'line'::regtype, 'circle'::regtype)), '{{}}')
                AS unequal,
              md5(COALESCE(string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ','
                           ORDER BY a.attname), '')) AS signature
         FROM pg_attribute a
         LEFT JOIN pg_type t ON t.oid = a.atttypid
         LEFT JOIN pg_type base ON base.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype
                                                   WHEN t.typcategory = 'A' THEN t.typelem ELSE t.oid END
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) columns
 WHERE {catalog.TABLE}
 ORDER BY 1, 2
"""

THINGS_SQL = f"""
-- Objects that logical replication does not carry, or that act on what it applies.
SELECT 'trigger' AS kind, n.nspname::text AS schema, t.tgname::text AS name, c.relname::text AS of,
       t.tgenabled::text AS state
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')
UNION ALL
SELECT 'event trigger', NULL, e.evtname, e.evtevent, e.evtenabled::text FROM pg_event_trigger e
 WHERE (e.evtenabled IN ('A', 'R') OR e.evtenabled = 'O' AND e.evtevent = 'login')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid
                      AND d.deptype = 'e')
UNION ALL
SELECT CASE c.relkind WHEN 'f' THEN 'foreign table' ELSE 'materialized view' END, n.nspname, c.relname, NULL, NULL
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm') AND c.oid >= 16384
UNION ALL
SELECT 'sequence', n.nspname, c.relname, pg_get_userbyid(c.relowner), NULL
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {catalog.SEQUENCE} AND NOT {catalog.PERMITTED}
 ORDER BY 1, 2, 3, 4
"""

SUMMARY_SQL = """
-- The rest, in one row. The settings are those of this session in this database: what our statements meet.
SELECT (SELECT count(*) FROM pg_largeobject_metadata)::int AS large_objects,
       (SELECT COALESCE(sum(oid::bigint), 0) FROM pg_largeobject_metadata)::bigint AS large_objects_sum,
       (pg_stat_get_tuples_inserted('pg_largeobject'::regclass) + pg_stat_get_tuples_updated('pg_largeobject'::regclass)
        + pg_stat_get_tuples_deleted('pg_largeobject'::regclass))::bigint AS large_objects_written,
       ARRAY(SELECT pubname::text FROM pg_publication ORDER BY 1) AS publications,
       to_regclass('encryptdb.heartbeat') IS NOT NULL AS heartbeat,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = 'encryptdb' AND c.relname NOT IN ('heartbeat', 'heartbeat_pkey')) AS foreign_schema,
       to_regclass('cron.job') IS NOT NULL AS cron,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_partman') AS partman,
       NULLIF(current_setting('pgaudit.log', true), '') AS audit,
       NULLIF(current_setting('pg_stat_statements.track', true), '') AS statements,
       NULLIF(current_setting('pg_stat_statements.track_utility', true), '') AS statements_utility,
       COALESCE((SELECT setting LIKE '%pg_stat_statements%' FROM pg_settings
                  WHERE name = 'shared_preload_libraries'), false) AS statements_loaded
"""

CRON_SQL = """
-- Jobs that the scheduler would start; row-level security may hide those of other roles.
SELECT count(*)::int FROM cron.job WHERE active
"""
