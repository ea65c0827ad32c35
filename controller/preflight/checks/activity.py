"""What acts by itself: triggers, scheduled jobs, and what records statements."""

from dataclasses import dataclass

from encryptdb.controller.preflight.check import Findings, blocks, check, database, ok, server, warns
from encryptdb.controller.preflight.facts import DatabaseFacts, Facts, Reading, ServerFacts, row, rows
from encryptdb.controller.preflight.read import optional
from encryptdb.controller.preflight.text import ident, lines, listed


@dataclass(frozen=True)
class Trigger:
    """`state` is pg_trigger.tgenabled: `A` (always) or `R` (replica)."""

    schema: str
    table: str
    name: str
    state: str


TRIGGERS_SQL = """
SELECT n.nspname::text AS schema, c.relname::text AS table, t.tgname::text AS name, t.tgenabled::text AS state
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') ORDER BY 1, 2, 3
"""
TRIGGERS = Reading("triggers that fire on replicated changes", "database", rows(Trigger, TRIGGERS_SQL))


@dataclass(frozen=True)
class EventTrigger:
    name: str
    event: str


EVENT_TRIGGERS_SQL = """
-- Those that fire in replication or at login, and belong to no extension.
SELECT e.evtname::text AS name, e.evtevent::text AS event FROM pg_event_trigger e
 WHERE (e.evtenabled IN ('A', 'R') OR e.evtenabled = 'O' AND e.evtevent = 'login')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid
                      AND d.deptype = 'e')
 ORDER BY 1
"""
EVENT_TRIGGERS = Reading("event triggers", "database", rows(EventTrigger, EVENT_TRIGGERS_SQL))

CRON_JOBS = Reading(
    "active jobs of pg_cron",
    "database",
    # None without pg_cron; row-level security may hide jobs of other roles.
    lambda connection: optional(connection, "SELECT count(*)::int FROM cron.job WHERE active"),
)


@dataclass(frozen=True)
class SessionSettings:
    """Extensions and settings as a session of the controller in this database has them."""

    partman: bool
    audit: str
    track: str | None
    track_utility: str | None


SESSION_SETTINGS_SQL = """
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_partman') AS partman,
       COALESCE(current_setting('pgaudit.log', true), '') AS audit,
       NULLIF(current_setting('pg_stat_statements.track', true), '') AS track,
       NULLIF(current_setting('pg_stat_statements.track_utility', true), '') AS track_utility
"""
SESSION_SETTINGS = Reading("settings of a session", "database", row(SessionSettings, SESSION_SETTINGS_SQL))


@check(database, "blocks", reads=(TRIGGERS,), stages="until OPEN")
def apply_triggers(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """No trigger fires on replicated changes. ENABLE ALWAYS and ENABLE REPLICA triggers fire in the apply: what
    they did on the source would be done twice. Rules do not matter: the apply does not rewrite."""
    firing = database[TRIGGERS]
    if firing:
        yield blocks(
            "Triggers that fire on replicated changes: "
            + listed(f"{ident(t.name)} on {ident(t.schema, t.table)}" for t in firing)
            + ".",
            "No ENABLE ALWAYS or ENABLE REPLICA trigger: what it did on the source is replicated, and it would do it "
            "again on the target.",
            lines(
                f"ALTER TABLE {ident(t.schema, t.table)} {'ENABLE' if t.state == 'A' else 'DISABLE'} "
                f"TRIGGER {ident(t.name)};"
                for t in firing
            ),
        )


@check(database, "warns", reads=(EVENT_TRIGGERS,), sides="source", stages="until OPEN")
def event_triggers(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """No event trigger fires in replication or at login. On the copy everything but the apply is read-only. An
    event trigger that refuses our statements shows as a failed `schema`, `publish` or `subscribe`."""
    found = database[EVENT_TRIGGERS]
    if found:
        yield warns(
            "Event triggers that fire in replication or at login: "
            + listed(f"{ident(t.name)} on {t.event}" for t in found)
            + ".",
            "That they neither write nor refuse: they run on the copy as well, which is read-only but for the apply.",
            lines(
                f"ALTER EVENT TRIGGER {ident(t.name)} {'DISABLE' if t.event == 'login' else 'ENABLE'};" for t in found
            ),
        )


@check(
    database, "blocks; warns where jobs may be hidden", reads=(CRON_JOBS,), sides="source", stages="until the restore"
)
def scheduled_jobs(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """No job of pg_cron is active. They run on the copy before anyone can reach it, and read-only does not stop
    them."""
    jobs = database[CRON_JOBS]
    if jobs:
        yield blocks(
            f"{jobs} active jobs of pg_cron.",
            "None: the copy starts them too, before anyone can reach it, and read-only does not stop them.",
            "UPDATE cron.job SET active = false WHERE active; -- note them; activate them after the cutover",
        )
    elif jobs == 0 and "pg_cron" in server.setting("shared_preload_libraries"):
        yield warns(
            "pg_cron is loaded; no active job is visible to the controller's role.",
            "No active job of anyone: row-level security hides those of other roles.",
            "SELECT jobid, username, schedule, command FROM cron.job WHERE active; -- as a role that sees all",
        )


@check(database, "warns", reads=(SESSION_SETTINGS,), sides="source", stages="until the restore")
def partition_maintenance(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """pg_partman makes no partitions. Replication does not know a partition made between snapshot and cutover."""
    if database[SESSION_SETTINGS].partman:
        yield warns(
            "pg_partman is installed.",
            "No new partition between the snapshot and the cutover: its rows would be skipped without an error.",
            "CALL partman.run_maintenance_proc(); -- for the coming days; then pause maintenance",
        )


@check(server, "blocks", sides="source", stages="until the restore")
def partition_worker(facts: Facts, server: ServerFacts) -> Findings:
    """pg_partman's background worker is off. The copy would start it before anyone can reach it, and read-only does
    not stop it."""
    name = server.observed.settings.get("pg_partman_bgw.dbname")
    if "pg_partman_bgw" in server.setting("shared_preload_libraries") and name:
        yield blocks(
            f"pg_partman's background worker runs for {name}.",
            "None: the copy would start it before anyone can reach it, and read-only does not stop it.",
            f"aws rds reset-db-{facts.words.group} --db-{facts.words.group}-name {facts.group('source')} --parameters "
            "ParameterName=pg_partman_bgw.dbname,ApplyMethod=immediate",
        )


@check(database, "blocks for pgaudit, warns for pg_stat_statements", reads=(SESSION_SETTINGS,))
def statement_logs(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """Nothing records a password. The controller sends no statement with a password in it; the text of CREATE
    SUBSCRIPTION exists only inside a `DO` block. pgaudit's class `ddl` would log it, `pg_stat_statements.track =
    all` would keep it."""
    me, session = ident(server.user), database[SESSION_SETTINGS]
    audited = {c.strip().lower() for c in session.audit.split(",")}
    if ("all" in audited and "-ddl" not in audited) or "ddl" in audited:
        yield blocks(
            f"pgaudit.log = {session.audit}: the text of CREATE SUBSCRIPTION is logged.",
            "No class ddl for the controller's role: that text holds the replication password.",
            f"ALTER ROLE {me} SET pgaudit.log = 'none';\n"
            f"ALTER ROLE {me} IN DATABASE {ident(database.name)} SET pgaudit.log = 'none';",
            part="pgaudit",
        )
    loaded = "pg_stat_statements" in server.setting("shared_preload_libraries")
    if loaded and session.track == "all" and session.track_utility in ("on", None):
        yield warns(
            "pg_stat_statements.track = all: the text of CREATE SUBSCRIPTION is kept in that view.",
            "track = top for the controller's role: that text holds the replication password, which members of "
            "pg_read_all_stats can read there.",
            f"ALTER ROLE {me} SET pg_stat_statements.track = 'top';",
            part="pg_stat_statements",
        )


@check(server, "ok")
def logged_statements(facts: Facts, server: ServerFacts) -> Findings:
    """`log_statement` and `log_min_duration_statement` are harmless."""
    harmless = {"log_statement": "none", "log_min_duration_statement": "-1"}
    logged = [f"{name} = {server.setting(name)}" for name, value in harmless.items() if server.setting(name) != value]
    if logged:
        yield ok(
            f"{' and '.join(logged)}: statements are logged.",
            "Nothing: no statement that the controller sends holds a password.",
        )
