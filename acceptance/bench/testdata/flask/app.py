"""The web tier as a Flask application, to measure the Go one against: the same three routes over the same database.

PyMySQL has no pool, so a connection is opened for each request that needs one and closed after it. With
KEEP_CONNECTION=1 each worker keeps one instead: the most that this stack can do without a further library.
"""

import os
from pathlib import Path

import pymysql
from flask import Flask, g, jsonify, render_template_string, request

app = Flask(__name__)
keep = os.environ.get("KEEP_CONNECTION") == "1"
kept = None

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Users</title></head>
<body><h1>Users</h1>
<table><tr><th>Id</th><th>Name</th><th>Address</th><th>Since</th></tr>
{% for u in users %}<tr><td>{{ u.id }}</td><td>{{ u.username }}</td><td>{{ u.email }}</td><td>{{ u.created_at }}</td></tr>
{% endfor %}</table>
<p>{{ total }} in all</p></body></html>"""


def connect():
    credentials = Path(os.environ["CREDENTIALS_DIRECTORY"])
    return pymysql.connect(
        host=os.environ["DB_HOST"],
        port=int(os.environ["DB_PORT"]),
        user=os.environ["DB_USER"],
        password=(credentials / "db_password").read_text().strip(),
        database=os.environ["DB_NAME"],
        ssl_ca=str(credentials / "db_ca"),
        ssl_verify_cert=True,
        ssl_verify_identity=True,
        connect_timeout=2,
        read_timeout=5,
        autocommit=True,
        cursorclass=pymysql.cursors.DictCursor,
    )


def database():
    global kept
    if keep:
        if kept is None:
            kept = connect()
        return kept
    if "database" not in g:
        g.database = connect()
    return g.database


@app.teardown_appcontext
def close(_):
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()


@app.errorhandler(pymysql.MySQLError)
def away(_):
    global kept
    kept = None
    return jsonify(status="unhealthy", database="not reachable"), 503


def users():
    limit = request.args.get("limit", 50, type=int)
    offset = request.args.get("offset", 0, type=int)
    with database().cursor() as cursor:
        cursor.execute("SELECT COUNT(*) AS total FROM users")
        total = cursor.fetchone()["total"]
        cursor.execute(
            "SELECT id, username, email, created_at FROM users ORDER BY id LIMIT %s OFFSET %s",
            (limit, offset),
        )
        page = cursor.fetchall()
    for user in page:
        user["created_at"] = user["created_at"].strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"users": page, "total": total, "limit": limit, "offset": offset}


@app.get("/")
def index():
    return render_template_string(PAGE, **users())


@app.get("/health")
def health():
    database().ping(reconnect=False)
    return jsonify(status="healthy", database="reachable", application=os.environ.get("MARK", "flask"))


@app.get("/users")
def list_users():
    return jsonify(users())
