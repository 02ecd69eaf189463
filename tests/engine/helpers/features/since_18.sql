-- What PostgreSQL 18 added; runs after since_17.sql.
SET LOCAL search_path = '';

-- Virtual generated columns, alone, inherited and in partitions
CREATE TABLE shop.virtual_18 (
    a integer NOT NULL, b integer GENERATED ALWAYS AS (a * 2) VIRTUAL, c text GENERATED ALWAYS AS ('%s' || a) STORED,
    "d %" numeric(8, 2) GENERATED ALWAYS AS (a / 3.0), id uuid DEFAULT uuidv7(),
    CONSTRAINT virtual_check CHECK (b <> 5));
CREATE TABLE shop.virtual_child_18 (b integer GENERATED ALWAYS AS (a + 1) VIRTUAL, own text) INHERITS (shop.virtual_18);
CREATE TABLE shop.virtual_parts_18 (k integer, v integer GENERATED ALWAYS AS (k + 1)) PARTITION BY LIST (k);
CREATE TABLE shop.virtual_part_18 PARTITION OF shop.virtual_parts_18 (v GENERATED ALWAYS AS (k - 1))
    FOR VALUES IN (1, 2);

-- Keys over time, and an exclusion constraint that a partition has from its parent
CREATE TABLE shop.period_18 (
    id integer, "valid %" daterange, spans datemultirange, note text,
    CONSTRAINT "period key %" PRIMARY KEY (id, "valid %" WITHOUT OVERLAPS),
    CONSTRAINT spans_key UNIQUE (note, spans WITHOUT OVERLAPS) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE shop.of_period_18 (
    id integer, parent integer, during daterange, UNIQUE (id, during WITHOUT OVERLAPS),
    CONSTRAINT "to period %" FOREIGN KEY (parent, PERIOD during)
        REFERENCES shop.period_18 (id, PERIOD "valid %") DEFERRABLE);
CREATE TABLE shop.period_parts_18 (id integer, during tsrange, PRIMARY KEY (id, during WITHOUT OVERLAPS))
    PARTITION BY LIST (id);
CREATE TABLE shop.period_part_18 PARTITION OF shop.period_parts_18 FOR VALUES IN (1, 2);
CREATE TABLE shop.exclusive_18 PARTITION OF shop.exclusive_17 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');

-- Constraints that are not enforced, and foreign keys of partitioned tables that are not valid
CREATE TABLE shop.loose_18 (
    id integer PRIMARY KEY, customer integer, other integer,
    CONSTRAINT "not % enforced" CHECK (id > 5) NOT ENFORCED,
    CONSTRAINT here_only CHECK (other > 1) NO INHERIT NOT ENFORCED,
    CONSTRAINT loose_key FOREIGN KEY (customer) REFERENCES shop.customer ON DELETE CASCADE NOT ENFORCED);
CREATE TABLE shop.loose_child_18 (own integer) INHERITS (shop.loose_18);
CREATE TABLE shop.keyed_18 (id integer, customer integer, other integer) PARTITION BY RANGE (id);
CREATE TABLE shop.keyed_part_18 PARTITION OF shop.keyed_18 FOR VALUES FROM (0) TO (10);
ALTER TABLE shop.keyed_18 ADD CONSTRAINT "later %" FOREIGN KEY (customer) REFERENCES shop.customer NOT VALID,
    ADD CONSTRAINT never FOREIGN KEY (other) REFERENCES shop.loose_18 NOT ENFORCED;

-- NOT NULL with names, not valid, without inheritance; each with a comment
CREATE TABLE shop.set_18 (
    a integer CONSTRAINT "a is % set" NOT NULL, b integer CONSTRAINT b_here NOT NULL NO INHERIT, c integer, d integer,
    CONSTRAINT d_set NOT NULL d, e integer);
ALTER TABLE shop.set_18 ADD CONSTRAINT c_later NOT NULL c NOT VALID, ADD NOT NULL e NOT VALID;
CREATE TABLE shop.set_child_18 (own integer, CONSTRAINT child_a NOT NULL a, b integer CONSTRAINT child_b NOT NULL)
    INHERITS (shop.set_18);
CREATE TABLE shop.set_parts_18 (k integer CONSTRAINT k_set NOT NULL, v text) PARTITION BY LIST (k);
CREATE TABLE shop.set_part_18 PARTITION OF shop.set_parts_18 (CONSTRAINT v_set NOT NULL v) FOR VALUES IN (1);
ALTER TABLE shop.set_parts_18 ADD CONSTRAINT v_later NOT NULL v NOT VALID;
CREATE TABLE shop.set_odd_18 (a integer, "b %" integer, CONSTRAINT "B % ""q""" NOT NULL "b %" NO INHERIT);
ALTER TABLE shop.set_odd_18 ADD CONSTRAINT "A %s later" NOT NULL a NOT VALID;
COMMENT ON CONSTRAINT "A %s later" ON shop.set_odd_18 IS E'later \r\n :x';
COMMENT ON CONSTRAINT "a is % set" ON shop.set_18 IS 'set %s';
COMMENT ON CONSTRAINT "not % enforced" ON shop.loose_18 IS '{}';
COMMENT ON CONSTRAINT "set %" ON DOMAIN shop.text_17 IS 'domain %s';

-- OLD and NEW in RETURNING, new functions and collations
CREATE FUNCTION shop.returning_18(n integer) RETURNS TABLE (before integer, after text) LANGUAGE sql BEGIN ATOMIC
    UPDATE shop.looped SET id = n WHERE note = '%s' RETURNING old.id, new.note;
    INSERT INTO shop.looped (id) VALUES (n) ON CONFLICT DO NOTHING
        RETURNING WITH (OLD AS o, NEW AS n) o.id, n.note || '%';
END;
CREATE COLLATION shop.unicode_fast (PROVIDER = builtin, LOCALE = 'PG_UNICODE_FAST');
CREATE VIEW shop.functions_18 AS SELECT casefold('Straße' COLLATE shop.unicode_fast) AS c,
    array_sort(ARRAY[2, 1], true) AS s, array_reverse(ARRAY[1, 2]) AS r, crc32('\x00') AS crc, uuidv4() AS u,
    uuid_extract_version(uuidv7(INTERVAL '1 hour')) AS v, gamma(2) AS g, v.b, v."d %" FROM shop.virtual_18 v;

-- Storage parameters, access methods, publications, foreign data, default privileges
CREATE TABLE shop.tuned_18 (id integer) WITH (
    autovacuum_vacuum_max_threshold = 5000, vacuum_max_eager_freeze_failure_rate = 0.5, vacuum_truncate = true);
CREATE INDEX other_18 ON shop.product USING "feature % btree" (id) WHERE price > 5;
CREATE PUBLICATION feature_generated FOR TABLE shop.virtual_18 (a, c) WITH (publish_generated_columns = stored);
CREATE FOREIGN TABLE shop.like_18 (LIKE shop.product INCLUDING DEFAULTS INCLUDING COMMENTS, more text)
    SERVER feature_files OPTIONS (filename '/dev/null', on_error 'ignore', reject_limit '3', log_verbosity 'silent');
ALTER SERVER feature_far_16 OPTIONS (ADD use_scram_passthrough 'false');
ALTER DEFAULT PRIVILEGES FOR ROLE feature_owner GRANT SELECT ON LARGE OBJECTS TO feature_reader;
