CREATE TYPE address AS (street text, zip varchar(9));
CREATE COLLATION german (locale = 'C');
CREATE TABLE customer (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, home address, name text COLLATE german NOT NULL, born date);
CREATE TABLE "order" (id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customer, best_item int,
    total numeric DEFAULT 0 NOT NULL, note varchar, c "char", search tsvector GENERATED ALWAYS AS (to_tsvector('english', note)) STORED);
CREATE TABLE item (id serial PRIMARY KEY, order_id int NOT NULL, qty smallint DEFAULT '1'::smallint, codes varchar(5)[],
    CONSTRAINT item_order_fk FOREIGN KEY (order_id) REFERENCES "order", CONSTRAINT qty CHECK (qty > 0) NO INHERIT);
ALTER TABLE "order" ADD CONSTRAINT best FOREIGN KEY (best_item) REFERENCES item ON DELETE SET NULL DEFERRABLE;
CREATE INDEX order_search ON "order" USING gin (search);
CREATE INDEX item_expression ON item ((qty * 2), lower(codes[1]) varchar_pattern_ops);
CREATE TABLE "Weird.name" ("select" int, "Quote""d" text, primary key ("select"));
CREATE MATERIALIZED VIEW sums AS SELECT customer_id, sum(total) FROM "order" GROUP BY 1;
