"""The business changes of one ledger transaction: inserts, updates and deletes over every kind of table there is.

Every client keeps to rows of its own, so that clients wait for nothing but the server.
"""

import threading
from collections.abc import Callable
from random import Random
from typing import TypeAlias

from demo.postgres import Connection

Workload: TypeAlias = Callable[[Connection, int, Random, bool], None]
"""Called as (connection in a transaction, client number, random source, whether rows may be removed)."""


class Removing:
    """Whether clients may remove rows that they did not just make.

    The fenced source is compared with the target after the target has been in use for a while. A row that was
    changed since says so by its xmin and is told apart; a row that was removed since says nothing. So the clients
    stop removing before the cutover.
    """

    def __init__(self) -> None:
        self._allowed = threading.Event()
        self._allowed.set()

    def __bool__(self) -> bool:
        return self._allowed.is_set()

    def end(self) -> None:
        """From the next transaction of each client on, no row is removed."""
        self._allowed.clear()


def orders(connection: Connection, client: int, random: Random, may_remove: bool) -> None:
    """One change in the shop."""
    kind = random.randrange(7)
    if kind in (0, 1):
        _place_order(connection, client, random)
    elif kind == 2:
        connection.execute(
            "UPDATE shop.customer SET address = address || jsonb_build_object('visits', %s::int),"
            " tags = tags[1:2] || %s, standing = 'VIP' WHERE id = %s",
            [random.randrange(1000), [f"t{random.randrange(9)}"], 20 * random.randrange(100) + client],
        )
    elif kind == 3:
        # The large value stays as it is: it is not sent again, and must not be lost over that.
        connection.execute("UPDATE shop.document SET title = title || '.' WHERE id = %s", [client])
    elif kind == 4:
        connection.execute(
            "INSERT INTO shop.basket VALUES (%s, %s, 1)"
            " ON CONFLICT (customer, sku) DO UPDATE SET quantity = basket.quantity + 1",
            [client, f"SKU-{random.randrange(1, 40)}"],
        )
    elif not may_remove:
        connection.execute(
            "INSERT INTO audit.event VALUES (current_date, %s, '{}', %s)", [f"client {client}", random.randrange(5)]
        )
    elif kind == 5:
        _change_without_key(connection, client, random)
    else:
        connection.execute("DELETE FROM shop.basket WHERE customer = %s AND quantity > 1", [client])
        # Another region or year is another partition: the row leaves one table and appears in another.
        connection.execute(
            'UPDATE shop."order" SET region = \'ap\' WHERE id = (SELECT id FROM shop."order" o WHERE customer = %s'
            " AND region <> 'ap' AND NOT EXISTS (SELECT FROM shop.order_line l WHERE l.order_id = o.id) LIMIT 1)",
            [client],
        )


def _place_order(connection: Connection, client: int, random: Random) -> None:
    year, region = random.choice((2023, 2024, 2025)), random.choice(("eu", "uk", "us", "ap"))
    row = connection.execute(
        'INSERT INTO shop."order" (placed_on, region, customer, sold_by, details)'
        " VALUES (make_date(%s, %s, %s), %s, %s, %s, jsonb_build_object('by', %s::int)) RETURNING id, placed_on",
        [year, random.randrange(1, 13), random.randrange(1, 29), region, client, 1 + client % 30, client],
    ).fetchone()
    assert row is not None
    order, placed_on = row
    for line in range(random.randrange(3)):
        sku = f"SKU-{20 * random.randrange(20) + client}"
        connection.execute(
            "INSERT INTO shop.order_line (order_id, placed_on, region, line_no, sku, quantity, unit_price)"
            " VALUES (%s, %s, %s, %s, %s, 1, 3.50)",
            [order, placed_on, region, line, sku],
        )
        connection.execute(
            'UPDATE "Warehouse"."Stock Item" SET quantity = quantity - 1 WHERE "SKU" = %s AND "Bin" = 1', [sku]
        )
    connection.execute(
        'INSERT INTO shop."Parcel" (order_id, weights) VALUES (%s, %s)', [order, [random.randrange(9), None]]
    )


def _change_without_key(connection: Connection, client: int, random: Random) -> None:
    who = f"client {client}"
    connection.execute(
        "INSERT INTO audit.event SELECT date '2024-06-01', %s, '{\"twice\": true}', 1 FROM generate_series(1, 2)", [who]
    )
    connection.execute(
        "UPDATE audit.event SET weight = weight + 1 WHERE who = %s AND weight = %s", [who, random.randrange(4)]
    )
    connection.execute(
        "DELETE FROM audit.event WHERE ctid = (SELECT ctid FROM audit.event WHERE who = %s LIMIT 1)", [who]
    )


def billing(connection: Connection, client: int, random: Random, may_remove: bool) -> None:
    """One change in the billing database."""
    kind = random.randrange(4)
    if kind in (0, 1):
        row = connection.execute(
            'INSERT INTO "Invoices"."Invoice" ("Country", "Lines", "Net")'
            ' VALUES (%s, ARRAY[jsonb_build_object(\'by\', %s::int)], %s) RETURNING "No", "Country"',
            [random.choice(("DE", "AT", "FR", "US")), client, random.randrange(10000) / 100],
        ).fetchone()
        assert row is not None
        number, country = row
        connection.execute(
            'INSERT INTO payment.payment (account, "invoiceNo", country, amounts)'
            " SELECT id, %s, %s, ARRAY[1.25, NULL] FROM payment.account ORDER BY iban OFFSET %s LIMIT 1",
            [number, country, random.randrange(500)],
        )
    elif kind == 2:
        connection.execute("UPDATE payment.card SET uses = uses + 1 WHERE id = %s", [client])
    elif may_remove:
        connection.execute(
            "DELETE FROM payment.payment WHERE id = (SELECT id FROM payment.payment WHERE amounts[3] IS NOT NULL"
            " AND id / 10 %% 20 = %s LIMIT 1)",
            [client],
        )
    else:
        connection.execute(
            "UPDATE payment.payment SET state = 'Paid' WHERE id = 10 * %s + 1", [20 * random.randrange(9) + client]
        )
