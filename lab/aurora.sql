-- Functions that Aurora PostgreSQL has and PostgreSQL has not, as far as something here asks for them. Run by rdsadmin in
-- template1, from which databases are copied, and in postgres. They stand in pg_catalog, where they are found without a
-- schema, and where no dump or comparison meets them. What they say is the lab's own; see each comment.

CREATE FUNCTION pg_catalog.aurora_version() RETURNS text
    LANGUAGE sql STABLE AS $$ SELECT split_part(current_setting('server_version'), ' ', 1) || '.0' $$;
COMMENT ON FUNCTION pg_catalog.aurora_version() IS
    'Made by the lab, not by Aurora: the version of the PostgreSQL at hand.';

-- Read from the configuration file, not from the session, where anyone could set it.
CREATE FUNCTION pg_catalog.aurora_volume_logical_start_lsn() RETURNS pg_lsn
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT setting::pg_lsn FROM pg_file_settings WHERE name = 'lab.volume_logical_start_lsn'
$$;
COMMENT ON FUNCTION pg_catalog.aurora_volume_logical_start_lsn() IS
    'Made by the lab, not by Aurora: where recovery ended when the first server started on this volume, which is where '
    'the checkpoint that ends it begins.';

-- One row for the writer and one for each of its readers, which are those that stream from it. On a reader, only its own.
CREATE FUNCTION pg_catalog.aurora_replica_status(
    OUT server_id text, OUT session_id text, OUT durable_lsn bigint, OUT highest_lsn_rcvd bigint,
    OUT current_read_lsn bigint, OUT cur_replay_latency_in_usec bigint, OUT active_txns integer, OUT is_current boolean,
    OUT last_transport_error integer, OUT last_error_timestamp timestamptz, OUT last_update_timestamp timestamptz,
    OUT feedback_xmin bigint, OUT feedback_epoch integer, OUT replica_lag_in_msec bigint,
    OUT log_stream_speed_in_kib_per_second double precision, OUT log_buffer_sequence_number bigint,
    OUT oldest_read_view_trx_id bigint, OUT oldest_read_view_lsn bigint, OUT pending_read_ios integer,
    OUT read_ios integer, OUT iops integer, OUT cpu real) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me text := (SELECT setting FROM pg_file_settings WHERE name = 'lab.instance_identifier');
    reader record;
BEGIN
    server_id := me;
    IF pg_is_in_recovery() THEN
        session_id := md5(me)::uuid::text;
        highest_lsn_rcvd := pg_last_wal_receive_lsn() - '0/0'::pg_lsn;
        current_read_lsn := pg_last_wal_replay_lsn() - '0/0'::pg_lsn;
        durable_lsn := current_read_lsn;
        RETURN NEXT;
        RETURN;
    END IF;
    session_id := 'MASTER_SESSION_ID';
    durable_lsn := pg_current_wal_flush_lsn() - '0/0'::pg_lsn;
    RETURN NEXT;
    FOR reader IN SELECT * FROM pg_stat_replication WHERE application_name LIKE 'aurora reader (lab) %'
    LOOP
        server_id := substr(reader.application_name, length('aurora reader (lab) ') + 1);
        session_id := md5(server_id)::uuid::text;
        highest_lsn_rcvd := reader.flush_lsn - '0/0'::pg_lsn;
        current_read_lsn := reader.replay_lsn - '0/0'::pg_lsn;
        durable_lsn := current_read_lsn;
        replica_lag_in_msec := coalesce(extract(epoch FROM reader.replay_lag) * 1000, 0);
        cur_replay_latency_in_usec := coalesce(extract(epoch FROM reader.replay_lag) * 1000000, 0);
        last_update_timestamp := reader.reply_time;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION pg_catalog.aurora_replica_status() IS
    'Made by the lab, not by Aurora: from pg_stat_replication, because its readers are streaming replicas.';
