-- The tables and functions of the first version. {schema} is made before.
--
-- Used proofs lie in a ring of slots, by the time when they were recorded: 0 to 3 for all of them, of which each is written to for a third of the
-- longest time that a usual proof is kept, and 4 to 6, each for half a day, for those that live longer as well. A slot is emptied whole, by
-- TRUNCATE, when its turn comes again. That waits for the disk, whatever `synchronous_commit` says, and records wait for it.
--
-- Nothing of it is logged: the server empties all of these tables itself when it has crashed, and the copy of a server that takes over finds
-- them empty. So the marker of the epoch, which stands in each slot beside the proofs, is gone with them.
CREATE UNLOGGED TABLE {schema}.epoch (
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    marker uuid NOT NULL,
    -- Of the life of the server.
    started timestamptz NOT NULL,
    system bigint NOT NULL,
    -- Since when, in seconds of Unix time.
    opened bigint NOT NULL,
    -- For which windows proofs are kept, in seconds.
    max_age bigint NOT NULL,
    nonce_lifetime bigint NOT NULL,
    -- How often the ring has turned: its slot is the rest by 4, or 4 and the rest by 3.
    near bigint NOT NULL DEFAULT 0,
    far bigint NOT NULL DEFAULT 0,
    near_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The latest time, 5 s more or less.
    seen timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE {schema}.proofs (digest uuid NOT NULL, slot smallint NOT NULL, PRIMARY KEY (digest, slot)) PARTITION BY LIST (slot);
-- How many proofs of a client's key came while a near slot was written to. In the far ones nothing is counted: half a day is no time for a client
-- to wait.
CREATE TABLE {schema}.tallies (key uuid NOT NULL, slot smallint NOT NULL, proofs bigint NOT NULL, PRIMARY KEY (key, slot))
    PARTITION BY LIST (slot);

DO $$
BEGIN
    FOR slot IN 0..6 LOOP
        EXECUTE format('CREATE UNLOGGED TABLE {schema}.proofs_%s PARTITION OF {schema}.proofs FOR VALUES IN (%s) WITH (autovacuum_enabled = false)', slot, slot);
    END LOOP;
    FOR slot IN 0..3 LOOP
        EXECUTE format('CREATE UNLOGGED TABLE {schema}.tallies_%s PARTITION OF {schema}.tallies FOR VALUES IN (%s) WITH (fillfactor = 50)', slot, slot);
    END LOOP;
END $$;

-- What nodes share beside the records: octets that are compared and set. This one is logged.
CREATE TABLE {schema}.shared (one bool PRIMARY KEY DEFAULT true CHECK (one), held bytea NOT NULL);

-- Takes the epoch, or begins one if what is there is of another life of the server, is `superseded`, or stands for shorter windows, and in any case
-- if that is `anew`. Times in seconds. Answers with 1 if clocks are further apart than `may_be_apart`, and by how many milliseconds.
--
-- All clocks may have been set back together: by them, a proof of before could come into its window again. None of those before counts.
CREATE FUNCTION {schema}.open(fresh uuid, node double precision, may_be_apart double precision, its_max_age bigint, its_nonce_lifetime bigint,
    superseded uuid, anew bool, its_system bigint, OUT fault int, OUT apart bigint, OUT e {schema}.epoch)
LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$
DECLARE
    is_there bool;
    is_steady bool;
    server double precision;
BEGIN
    -- Nobody records meanwhile.
    LOCK TABLE epoch IN EXCLUSIVE MODE;
    server := extract(epoch FROM clock_timestamp());
    apart := round((server - node) * 1000);
    fault := (abs(server - node) > may_be_apart)::int;
    IF fault <> 0 THEN RETURN; END IF;
    SELECT * INTO e FROM epoch;
    is_there := FOUND AND e.started = pg_postmaster_start_time() AND e.system = its_system
        AND (SELECT count(*) = 7 FROM proofs WHERE digest = e.marker);
    is_steady := server >= extract(epoch FROM e.seen) - may_be_apart;
    IF is_there AND is_steady AND NOT anew AND e.marker IS DISTINCT FROM superseded AND e.max_age >= its_max_age AND e.nonce_lifetime >= its_nonce_lifetime THEN RETURN; END IF;
    IF NOT is_there THEN
        TRUNCATE proofs, tallies;
        DELETE FROM epoch;
        INSERT INTO epoch (marker, started, system, opened, max_age, nonce_lifetime)
            VALUES (fresh, pg_postmaster_start_time(), its_system, 0, 0, 0);
    END IF;
    INSERT INTO proofs SELECT fresh, slot FROM generate_series(0, 6) slot;
    -- Every node's clock is at most so far from ours: none has accepted a proof from later than that.
    UPDATE epoch SET marker = fresh, opened = ceil(greatest(server, extract(epoch FROM e.seen)) + may_be_apart) + 1, seen = clock_timestamp(), max_age = greatest(epoch.max_age, its_max_age),
        nonce_lifetime = greatest(epoch.nonce_lifetime, its_nonce_lifetime) RETURNING * INTO e;
END $$;

-- Records used proofs: one atomic step for all of them, as long as this server is what the node believes it to be. `digests` are different
-- from each other; `long` are those that outlive a near slot.
--
-- Answers a list: {1} this is not that server, or it has forgotten; {2, ms} the clocks are too far apart; or 0, the turns of the rings, and for each
-- proof 0 never seen, 1 seen before, or 10 and the seconds until its client may have room again.
CREATE FUNCTION {schema}.record(its_marker uuid, node double precision, may_be_apart double precision, quota bigint, near_width double precision,
    digests uuid[], keys uuid[], long bool[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = {schema}, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    e epoch;
    apart double precision;
    fresh int[];
    denied int[];
    put uuid[];
    near_slot smallint;
    far_slot smallint;
BEGIN
    -- What others have done has to be seen once a lock is had.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'transactions are not READ COMMITTED' USING ERRCODE = 'KB001';
    END IF;
    -- No slot is emptied meanwhile, and no ring turns.
    LOCK TABLE epoch IN ROW SHARE MODE;
    SELECT * INTO e FROM epoch;
    IF NOT FOUND OR e.marker <> its_marker OR e.started <> pg_postmaster_start_time()
        OR (SELECT count(*) <> 7 FROM proofs WHERE digest = its_marker) THEN
        RETURN ARRAY[1];
    END IF;
    apart := extract(epoch FROM clock_timestamp()) - node;
    IF abs(apart) > may_be_apart THEN RETURN ARRAY[2, round(apart * 1000)]; END IF;
    IF extract(epoch FROM e.seen - clock_timestamp()) > may_be_apart THEN RETURN ARRAY[1]; END IF;
    -- The time is noted with what is recorded then: between two looks all clocks may be ahead, and back again. Seldom, for somebody may be reading for
    -- hours, and each version of the row is kept for them; mostly by a node that looks, for the others wait until it is done; and before any
    -- other row is ours, so that nobody waits in a circle.
    IF clock_timestamp() > e.seen + (CASE WHEN digests = '{}' THEN interval '4 s' ELSE interval '5 s' END) THEN
        UPDATE epoch SET seen = clock_timestamp() WHERE epoch.seen = e.seen;
    END IF;
    IF digests = '{}' THEN RETURN ARRAY[0, e.near, e.far]; END IF;
    near_slot := e.near % 4;
    far_slot := 4 + e.far % 3;

    fresh := ARRAY(SELECT at FROM generate_subscripts(digests, 1) at WHERE NOT EXISTS (SELECT FROM proofs p WHERE p.digest = digests[at]));
    IF fresh = '{}' THEN RETURN ARRAY[0, e.near, e.far] || array_fill(1::bigint, ARRAY[cardinality(digests)]); END IF;

    -- From here on the tallies of these keys are ours, and what is counted in them stands still. In order: two that wait for each other would wait for ever.
    INSERT INTO tallies AS t SELECT keys[at], near_slot, count(*) FROM unnest(fresh) at GROUP BY keys[at] ORDER BY keys[at]
        ON CONFLICT (key, slot) DO UPDATE SET proofs = t.proofs + excluded.proofs;
    denied := ARRAY(
        SELECT f.at FROM (
            SELECT at, keys[at] AS key, row_number() OVER same AS nth, count(*) OVER (PARTITION BY keys[at]) AS asked
            FROM unnest(fresh) at WINDOW same AS (PARTITION BY keys[at] ORDER BY at)
        ) f WHERE (SELECT sum(t.proofs) FROM tallies t WHERE t.key = f.key) - f.asked + f.nth > quota);

    -- Whoever records the same proof now writes to the same slot: one of us waits for the other, and finds it there.
    WITH new AS (
        INSERT INTO proofs SELECT digests[at], near_slot FROM unnest(fresh) at WHERE at <> ALL (denied) ORDER BY digests[at]
            ON CONFLICT (digest, slot) DO NOTHING RETURNING digest
    ) SELECT array_agg(digest) INTO put FROM new;
    put := coalesce(put, '{}');
    IF cardinality(put) < cardinality(fresh) THEN
        -- What was denied, and what somebody else has recorded meanwhile and counted.
        UPDATE tallies t SET proofs = t.proofs - d.many
            FROM (SELECT keys[at] AS key, count(*) AS many FROM unnest(fresh) at WHERE digests[at] <> ALL (put) GROUP BY 1) d
            WHERE t.key = d.key AND t.slot = near_slot;
    END IF;
    IF true = ANY (long) THEN
        INSERT INTO proofs SELECT digests[at], far_slot FROM unnest(fresh) at WHERE long[at] AND digests[at] = ANY (put)
            ON CONFLICT (digest, slot) DO NOTHING;
    END IF;
    RETURN ARRAY[0, e.near, e.far] || ARRAY(
        SELECT CASE WHEN digests[at] = ANY (put) THEN 0 WHEN at = ANY (denied) THEN 10 + wait(e, near_width, keys[at]) ELSE 1 END
        FROM generate_subscripts(digests, 1) at ORDER BY at);
END $$;

-- In how many seconds the oldest slot goes in which proofs of a key are counted.
CREATE FUNCTION {schema}.wait(e {schema}.epoch, near_width double precision, its_key uuid) RETURNS bigint
LANGUAGE sql SET search_path = {schema}, pg_temp AS $$
    SELECT greatest(1, ceil(extract(epoch FROM e.near_since - clock_timestamp())
        + near_width * (4 - coalesce(max((e.near - slot) % 4), 0))))::bigint
    FROM tallies WHERE key = its_key AND proofs > 0
$$;

-- Turns a ring that has turned `from_turn` times so far: empties the slot that comes next, which the caller knows to be over, and begins to write there.
CREATE FUNCTION {schema}.turn(its_marker uuid, is_far bool, from_turn bigint) RETURNS bool
LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$
DECLARE
    e epoch;
    slot int := CASE WHEN is_far THEN 4 + (from_turn + 1) % 3 ELSE (from_turn + 1) % 4 END;
    tables text;
BEGIN
    LOCK TABLE epoch IN EXCLUSIVE MODE;
    SELECT * INTO e FROM epoch;
    IF NOT FOUND OR e.marker <> its_marker OR e.started <> pg_postmaster_start_time()
        OR from_turn <> (CASE WHEN is_far THEN e.far ELSE e.near END) THEN
        RETURN false;
    END IF;
    -- A slot without its marker may have lost the rest as well; with another one in it nobody would learn that.
    IF (SELECT count(*) <> 7 FROM proofs WHERE digest = its_marker) THEN RETURN false; END IF;
    -- Whoever looks at the slot, to save a copy of it perhaps, is not waited for: until then nobody would record.
    tables := format(CASE WHEN is_far THEN 'proofs_%1$s' ELSE 'proofs_%1$s, tallies_%1$s' END, slot);
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', tables);
    EXECUTE format('TRUNCATE %s', tables);
    INSERT INTO proofs VALUES (its_marker, slot);
    IF is_far THEN
        UPDATE epoch SET far = far + 1;
    ELSE
        UPDATE epoch SET near = near + 1, near_since = clock_timestamp();
    END IF;
    RETURN true;
END $$;

-- The text that nodes share, after it was replaced by `new` if it was `old`, '' for nothing. Answers what `record` answers where that is a fault.
CREATE FUNCTION {schema}.share(its_marker uuid, node double precision, may_be_apart double precision, old bytea, new bytea,
    OUT judged bigint[], OUT its_text bytea)
LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$
BEGIN
    judged := {schema}.record(its_marker, node, may_be_apart, 0, 0, '{}', '{}', '{}');
    IF judged[1] <> 0 THEN RETURN; END IF;
    IF new IS NOT NULL THEN
        -- It outlives a crash, unlike the records.
        PERFORM set_config('synchronous_commit', 'on', true);
        IF old = '' THEN
            INSERT INTO shared (held) VALUES (new) ON CONFLICT (one) DO NOTHING;
        ELSE
            UPDATE shared SET held = new WHERE held = old;
        END IF;
    END IF;
    its_text := coalesce((SELECT held FROM shared), '');
END $$;

CREATE TABLE {schema}.version AS SELECT 1 AS version;
