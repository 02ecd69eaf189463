-- What PostgreSQL 16 added; runs after common.sql.
SET LOCAL search_path = '';

-- Storage in CREATE TABLE, generated columns that a child overrides, statistics without a name
CREATE TABLE shop.stored_16 (
    a text STORAGE EXTERNAL COMPRESSION pglz, b text STORAGE MAIN NOT NULL, c numeric STORAGE PLAIN,
    d integer DEFAULT 0x1F + 0o17 + 0b11, e numeric DEFAULT 1_000.000_1, f text DEFAULT SYSTEM_USER, g json,
    CONSTRAINT "is % json" CHECK (a IS JSON OBJECT WITH UNIQUE KEYS OR b IS NOT JSON ARRAY),
    CONSTRAINT scalar CHECK (b IS JSON SCALAR OR pg_input_is_valid(b, 'integer')));
CREATE TABLE shop.generated_16 (b integer GENERATED ALWAYS AS (a - 100) STORED) INHERITS (shop.generating);
CREATE STATISTICS ON a, b, (a || b) FROM shop.stored_16;
ALTER STATISTICS shop.stored_16_a_b_expr_stat SET STATISTICS 5;

-- JSON constructors, new functions, subqueries without alias
CREATE VIEW shop.json_16 AS SELECT JSON_OBJECT('a': id, '%s' VALUE note ABSENT ON NULL WITH UNIQUE KEYS RETURNING jsonb)
    AS o, JSON_ARRAY(id, note NULL ON NULL RETURNING text) AS a, JSON_ARRAY(SELECT n FROM generate_series(1, 3) n) AS s,
    JSON_ARRAY(document FORMAT JSON, '[":x"]' FORMAT JSON) AS f, note IS JSON VALUE AS i
    FROM shop.product;
CREATE VIEW shop.json_sums_16 AS SELECT price, JSON_OBJECTAGG(note: id ABSENT ON NULL WITH UNIQUE KEYS) AS o,
    JSON_ARRAYAGG(id ORDER BY id DESC NULL ON NULL RETURNING jsonb) FILTER (WHERE id > 0) AS a,
    any_value(body) AS any_body, JSON_ARRAYAGG(price ORDER BY id) AS p FROM shop.product GROUP BY price;
CREATE VIEW shop.functions_16 AS SELECT random_normal(0, 1.5) AS r, array_shuffle(ARRAY[1, 2]) AS s, erf(0.5) AS e,
    date_add(now(), '1 day', 'Europe/Berlin') AS d, unnamed.n, SYSTEM_USER AS su, x, 0xFF AS hex
    FROM (SELECT 1 AS x), (SELECT 2 AS n) unnamed;
CREATE FUNCTION shop.settings_16() RETURNS text LANGUAGE sql SET enable_presorted_aggregate = off
    SET scram_iterations = 4097 RETURN SYSTEM_USER || '%s';

-- Foreign tables: triggers on TRUNCATE, new options
CREATE TRIGGER truncate_16 BEFORE TRUNCATE ON shop.far FOR EACH STATEMENT EXECUTE FUNCTION shop.pass('%');
CREATE FOREIGN TABLE shop.lines_16 (line text DEFAULT 'x') SERVER feature_files
    OPTIONS (filename '/dev/null', format 'csv', default '\D');
CREATE SERVER feature_far_16 FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (analyze_sampling 'system', parallel_abort 'true');
CREATE USER MAPPING FOR feature_reader SERVER feature_far_16 OPTIONS (user 'x', password 's3cr3t-17');
COMMENT ON COLUMN shop.stored_16.a IS '%s since 16';
