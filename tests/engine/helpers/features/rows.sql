-- Rows for the tables of the other files, and sequences that went on; runs after all of them, on any version.
SET LOCAL search_path = '';

-- Sequences: used, set, at their end, and one that cycled
SELECT nextval('shop.plain_sequence'), setval('shop.big', 9223372036854775801), setval('shop.codes', -2998),
    nextval('shop.codes'), setval('shop.unlogged_sequence', 44, false), nextval('shop.owned_sequence');
SELECT setval(c.oid, 100 + length(c.relname)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE relkind = 'S' AND nspname LIKE 'odd%größe' AND relname > 'a';

-- Customers, products, orders and items, which refer to one another
INSERT INTO shop.customer (email, mood, home, others, attributes, path, balance, full_name, since, long_one) VALUES
    ('a@example.org', 'happy', ROW('Odd %s street', '1', '{a,"b \"c",NULL}', ROW(1.50, 'EUR'), '{"so''so",happy}'),
        ARRAY[ROW(NULL, 'z', '{}', NULL, NULL), NULL]::shop.address[], 'a=>1, "b %"=>NULL, "c d"=>"\"q\""', 'top.of.it',
        '5', 'Ann %s', '2024-02-29 12:00+00', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 3000) g)),
    (NULL, '100 % {} :x %s', NULL, NULL, NULL, NULL, '0', E'Größe \U0001F600', 'infinity',
        E'new\r\nline\ttab \\ '' " \u2028'),
    ('B@example.org', 'back\slash', NULL, '{}', '', '', '2147483647', 'bob', '0044-03-15 12:00+00 BC', '');
INSERT INTO shop.customer (full_name, whose) SELECT 'Customer ' || g, 'user ' || g FROM generate_series(1, 50) g;
INSERT INTO shop.product (price, tags, body, at, span, address, length) VALUES
    (9.99, '{a,NULL,"b,c"}', 'body %', '(1,2)', '[1,5)', '::1/64', '-1 year 2 days'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('NaN', '{{a,b},{c,d}}', '', '(Infinity,-0)', 'empty', '10.0.0.1', '00:00:00.000001');
INSERT INTO shop.product (price, document) SELECT g * 1.1, jsonb_build_object('a', ARRAY[g, NULL], '%s', 'x' || g)
    FROM generate_series(1, 40) g;
INSERT INTO shop.alike (price, note) VALUES (5, 'like %s'), (6, DEFAULT);
INSERT INTO shop."order" ("select", "user", line, customer, product, happened, state, fax) VALUES
    (1, 1, 1, 10, 1, '2024-01-01 00:00+00', 'new', '1'), (1, 2, 2, 20, 2, NULL, '100%', NULL),
    (2, 3, 1, NULL, NULL, NULL, NULL, '5');
INSERT INTO shop.item (id, "user", line, tenant, parent, twin, other) VALUES
    (1, 1, 1, 7, 2, 3, 10), (2, NULL, NULL, 7, 1, NULL, 20), (3, 2, 2, 7, NULL, 3, NULL),
    (4, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO shop.booking (room, during, area, dead, price) VALUES
    (1, '[2024-01-01, 2024-01-02)', '(1,1),(0,0)', false, 5), (2, '[2024-01-01,)', '(9,9),(8,8)', true, DEFAULT);
INSERT INTO "select"."user" (id, "user", favourite) VALUES (1, 2, 1), (2, 1, 2), (3, NULL, NULL);
INSERT INTO shop.favourite (id, of_user) VALUES (1, 1), (2, 3);

-- A row that breaks a foreign key, which is not valid
SET LOCAL session_replication_role = replica;
INSERT INTO shop.favourite (id, of_user) VALUES (99, 2);
SET LOCAL session_replication_role = origin;

-- Parents, children, typed tables, and those with rows of other tables in their columns
INSERT INTO shop.named (id, name) SELECT g, 'name ' || g FROM generate_series(1, 20) g;
INSERT INTO shop.named_view (id, name) VALUES (21, NULL), (22, 'by rule');
INSERT INTO shop.priced (name, price) VALUES ('p', 1.25), ('name 3', 7);
INSERT INTO shop.child (id, own, extra) VALUES (1, 2, NULL), (2, 3, '%');
INSERT INTO shop.grandchild (id, name) VALUES (6, 'g'), (5, 'h');
INSERT INTO shop.late_child (id) VALUES (1), (2);
INSERT INTO shop.generating (a) VALUES (1), (NULL);
INSERT INTO shop.generated_child (a) VALUES (5);
INSERT INTO shop.typed VALUES ('S', 'zip', '{t}', ROW(1, 'USD'), NULL);
INSERT INTO shop.fast DEFAULT VALUES;
INSERT INTO shop.no_columns DEFAULT VALUES;
INSERT INTO shop.other_heap VALUES (1, 'in feature_heap'), (2, NULL);
INSERT INTO shop.tuned (id, a, b) SELECT g, repeat('a%', g * 100), NULL FROM generate_series(1, 30) g;
INSERT INTO shop.log (what) VALUES ('one'), ('keep %');
INSERT INTO shop.looped (id, note) VALUES (1, '%s'), (2, NULL);
INSERT INTO shop.uses_rows (whole, many) SELECT l, ARRAY[ROW(1, NULL, 2), NULL]::"select"."user"[] FROM shop.looped l;
INSERT INTO shop."After %s rename" ("uno %", two) VALUES (1, 2), (3, NULL);
INSERT INTO made.by_maker (note) VALUES ('%'), ('made');

-- Partitions
INSERT INTO shop.measure (id, at, kind, value) SELECT g, '2023-12-01'::timestamp + g * interval '20 days',
    CASE g % 4 WHEN 0 THEN 'a' WHEN 1 THEN 'it''s' WHEN 2 THEN '%s' ELSE 'k' END, g - 5 FROM generate_series(1, 60) g;
INSERT INTO shop.measure_detached VALUES (1, '1999-01-01', 'old', NULL);
INSERT INTO shop.points_at_parts SELECT id, at, kind FROM shop.measure LIMIT 5;
INSERT INTO shop.hashed (id, name, data) SELECT id, full_name, NULL FROM shop.customer;
INSERT INTO shop.wide VALUES (1, 'A', '2024-01-01'), (10, 'L', '2030-01-01'), (15, 'z', '-infinity');
INSERT INTO shop.by_slug VALUES (10, 'X'), (20, 'y%');
INSERT INTO shop.by_mood VALUES ('so''so', true, 1), (NULL, NULL, NULL);

-- Every type: at its limits, and NULL
INSERT INTO shop.all_types VALUES (
    -32768, -2147483648, -9223372036854775808, 'Infinity', 12345678.99, 99900, 0.00099, 'NaN', '-Infinity', '-1.50',
    'c', 'a', 'v %', E'\U0001F600\r\n', 'name', '\x00ff', B'101', B'1', true, '4713-01-01 BC', '24:00',
    '12:00:00.5-15:59', 'infinity', '-infinity', '1 year -2 mons 3 days -04:05:06.789', '5 years', '6.25', '1.23456',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::ffff:1.2.3.4/128', '10.0.0.0/8', '08:00:2b:01:02:03',
    '08:00:2b:01:02:03:04:05', '(1e300,-0)', '{1,-1,0}', '[(0,0),(1,1)]', '(2,2),(0,0)', '[(0,0),(1,1),(2,0)]',
    '((0,0),(1,1),(2,0))', '<(0,0),5>', '{"a" : [1,  "%s"]}', '{"b": null, "a": 1e3}', '$.a[*] ? (@ > 1)',
    '''it''''s'':1A b:2', 'a & !b:*', '(,5]', '{[1.5,2),(3,)}', '[0:2]={1,NULL,3}', '{{a,NULL},{"b \"c","d\\"}}', 42,
    'shop.customer', 'integer[]', 'shop.slug(text)', '12345', '16/B374D848', NULL, 'x', '{a,bb}',
    '{infinity,"2024-01-01 00:00:00.15"}', '[08:00,09:30)', '{[08:00,09:00),[10:00,)}', '[1,3]', '(a,"b %"]', 'label',
    '{1;2}', 'x@example.org', '{1,2,NULL}', ROW('s', 'z', NULL, NULL, NULL), '{happy,NULL}', '"k"=>NULL', 'a.b.c',
    '*.x{1,2}.*', '1&(2|!3)', NULL, ROW());
INSERT INTO shop.all_types (a) VALUES (NULL), (1), (1);

-- Odd names and texts
INSERT INTO shop.odd_texts (id) VALUES (1), (NULL);
INSERT INTO "odd ""2"" :x {}".plain VALUES (1, 'plain %s');
DO $do$ DECLARE o regclass; BEGIN
    FOR o IN SELECT c.oid FROM pg_class c WHERE relnamespace = '"Odd.1 %s"'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('INSERT INTO %s DEFAULT VALUES', o);
    END LOOP;
    REFRESH MATERIALIZED VIEW shop.stored;
    IF to_regclass('shop.stored_16') IS NOT NULL THEN
        INSERT INTO shop.stored_16 (a, b) VALUES (repeat('{"a": 1}', 1), '5'), ('{}', 'true');
        INSERT INTO shop.generated_16 (a) VALUES (1);
    END IF;
    IF to_regclass('shop.parts_17') IS NOT NULL THEN
        INSERT INTO shop.parts_17 (day, room, note) VALUES ('2024-05-01', 1, 'Größe'), ('2030-01-01', NULL, DEFAULT);
        INSERT INTO shop.always_17 (k) VALUES ('a'), ('a');
        INSERT INTO shop.table_17 (path, js, n) VALUES ('a.b', '{"c": "%s"}', 1), (NULL, NULL, 'NaN');
    END IF;
    IF to_regclass('shop.virtual_18') IS NOT NULL THEN
        INSERT INTO shop.virtual_18 (a) VALUES (1), (2);
        INSERT INTO shop.virtual_child_18 (a, own) VALUES (3, '%');
        INSERT INTO shop.virtual_parts_18 (k) VALUES (1), (2);
        INSERT INTO shop.period_18 VALUES (1, '[2024-01-01,2024-06-01)', NULL, 'a'), (1, '[2024-06-01,)', NULL, 'b');
        INSERT INTO shop.of_period_18 VALUES (1, 1, '[2024-05-01,2024-07-01)'), (2, NULL, '[2024-01-01,)');
        INSERT INTO shop.loose_18 VALUES (1, -1, 0), (6, 10, 5);
        INSERT INTO shop.keyed_18 VALUES (1, 10, -5), (2, NULL, NULL);
        INSERT INTO shop.set_18 (a, b, c, d, e) VALUES (1, 2, 3, 4, 5);
        INSERT INTO shop.set_child_18 (a, b, c, d, e) VALUES (1, 2, 3, 4, 5);
    END IF;
END $do$;
