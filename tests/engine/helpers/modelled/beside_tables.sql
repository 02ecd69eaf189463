-- What stands beside tables: sequences, a foreign table, settings of a table, a default that calls a function of its rows.
CREATE SCHEMA "odd x";
CREATE SEQUENCE "odd x".numbers START 16;
CREATE TABLE product (id int PRIMARY KEY, price int, large bigint GENERATED ALWAYS AS IDENTITY, worth int);
CREATE SEQUENCE owned START 7 OWNED BY product.price;
CREATE INDEX product_price ON product (price);
ALTER TABLE product CLUSTER ON product_price;
ALTER TABLE product FORCE ROW LEVEL SECURITY;
CREATE FUNCTION worth(product) RETURNS int LANGUAGE sql AS 'SELECT 7';
ALTER TABLE product ALTER worth SET DEFAULT worth(NULL::product);
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;
CREATE FOREIGN TABLE far (id int NOT NULL DEFAULT 3, note text) SERVER elsewhere;
COMMENT ON FOREIGN TABLE far IS 'made by hand';
COMMENT ON COLUMN far.id IS 'the key there';
