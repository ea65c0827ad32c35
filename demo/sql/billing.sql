-- The second database, with a name that has to be quoted everywhere.
CREATE SCHEMA "Invoices";
CREATE SCHEMA payment;

CREATE TYPE payment."State" AS ENUM ('open', 'Paid', 'überfällig');
CREATE DOMAIN payment.iban AS text CHECK (VALUE ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{4,30}$');

CREATE SEQUENCE "Invoices"."Number" AS bigint START WITH 20240001;
CREATE SEQUENCE "Invoices"."Never Used" AS smallint INCREMENT BY -3 MINVALUE -30000 MAXVALUE -1;

CREATE TABLE "Invoices"."Invoice" (
    "No" bigint NOT NULL DEFAULT nextval('"Invoices"."Number"'),
    "Country" char(2) NOT NULL,
    "Lines" jsonb[] NOT NULL DEFAULT '{}',
    "Period" daterange,
    "Net" numeric NOT NULL,
    "Gross" numeric GENERATED ALWAYS AS ("Net" * 1.19) STORED,
    PRIMARY KEY ("No", "Country")
) PARTITION BY LIST ("Country");
CREATE TABLE "Invoices"."Invoice DE" PARTITION OF "Invoices"."Invoice" FOR VALUES IN ('DE', 'AT');
CREATE TABLE "Invoices"."Invoice other" PARTITION OF "Invoices"."Invoice" DEFAULT;

CREATE TABLE payment.account (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    iban payment.iban NOT NULL,
    opened interval,
    source inet,
    secret text
);

CREATE TABLE payment.payment (
    id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 10) PRIMARY KEY,
    account uuid NOT NULL REFERENCES payment.account,
    "invoiceNo" bigint NOT NULL,
    country char(2) NOT NULL,
    state payment."State" NOT NULL DEFAULT 'open',
    amounts numeric(10, 2)[] NOT NULL,
    FOREIGN KEY ("invoiceNo", country) REFERENCES "Invoices"."Invoice"
);

-- Its replica identity is another unique index than its primary key.
CREATE TABLE payment.card (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token text NOT NULL,
    uses integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX card_token ON payment.card (token);
ALTER TABLE payment.card REPLICA IDENTITY USING INDEX card_token;

CREATE TABLE public.currency (code char(3) PRIMARY KEY, digits smallint NOT NULL);
INSERT INTO public.currency VALUES ('EUR', 2), ('JPY', 0), ('TND', 3);

INSERT INTO payment.account (iban, opened, source)
SELECT 'DE' || lpad((n % 100)::text, 2, '0') || lpad(n::text, 10, '0'), make_interval(days => n), ('10.0.' || n % 256 || '.1')::inet
FROM generate_series(1, 500) n;

INSERT INTO "Invoices"."Invoice" ("Country", "Lines", "Period", "Net")
SELECT (ARRAY['DE', 'AT', 'FR', 'US'])[1 + n % 4], ARRAY[jsonb_build_object('line', n)],
       daterange(date '2024-01-01' + n % 300, NULL), n / 7.0
FROM generate_series(1, 2000) n;

INSERT INTO payment.payment (account, "invoiceNo", country, state, amounts)
SELECT (SELECT id FROM payment.account ORDER BY iban OFFSET i."No" % 500 LIMIT 1), i."No", i."Country",
       (ARRAY['open', 'Paid', 'überfällig'])[1 + i."No" % 3]::payment."State", ARRAY[1.5, NULL, i."No" % 100]
FROM "Invoices"."Invoice" i WHERE i."No" % 2 = 0;

INSERT INTO payment.card (token) SELECT 'card-' || n FROM generate_series(1, 60) n;
