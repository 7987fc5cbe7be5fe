package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// user is a row of the table users.
type user struct {
	ID        int64     `json:"id"`
	Username  string    `json:"username"`
	Email     string    `json:"email"`
	CreatedAt time.Time `json:"created_at"`
}

// store is the database. It connects when it is asked something, so it may be away when the program starts, and come
// back.
type store struct{ db *sql.DB }

func openStore(s settings) (*store, error) {
	// The driver writes of broken connections, which are told otherwise; in its own format, they would only confuse.
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(s.database)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(persistent{connector})
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(32)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetConnMaxLifetime(10 * time.Minute)
	return &store{db}, nil
}

// persistent is a connector that tries again when the driver finds what the server said malformed. The driver takes a
// zero byte at the end of the server's challenge for the end of a string; of MariaDB's ed25519 challenges, which are 32
// random bytes, one in 256 ends so.
type persistent struct{ driver.Connector }

// connectAttempts make a failure by chance as rare as one in 256⁴.
const connectAttempts = 4

func (p persistent) Connect(ctx context.Context) (conn driver.Conn, err error) {
	for range connectAttempts {
		if conn, err = p.Connector.Connect(ctx); !errors.Is(err, mysql.ErrMalformPkt) {
			break
		}
	}
	return conn, err
}

func (s *store) close() error { return s.db.Close() }

// limited is the context of a statement: with a deadline, and not ended by the client that asked. A statement that is
// cancelled takes its connection with it, so clients that go away early would have the others wait for new ones.
func limited(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// ping asks the server whether it is there and lets the application in.
func (s *store) ping(ctx context.Context) error {
	ctx, cancel := limited(ctx, dialTimeout)
	defer cancel()
	return s.db.PingContext(ctx)
}

// users are a page of users, the oldest first, and how many there are in all.
func (s *store) users(ctx context.Context, limit, offset int) (page []user, total int, err error) {
	ctx, cancel := limited(ctx, queryTimeout)
	defer cancel()
	if page, err = s.page(ctx, limit, offset); err != nil {
		return nil, 0, err
	}
	// The last page says itself where the table ends. For another, and for one beyond the end, it is counted.
	if len(page) < limit && (len(page) > 0 || offset == 0) {
		return page, offset + len(page), nil
	}
	err = s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM users").Scan(&total)
	return page, total, err
}

func (s *store) page(ctx context.Context, limit, offset int) ([]user, error) {
	rows, err := s.db.QueryContext(
		ctx,
		"SELECT id, username, email, created_at FROM users ORDER BY id LIMIT ? OFFSET ?",
		limit,
		offset,
	)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	page := []user{}
	for rows.Next() {
		var u user
		var created sql.NullTime
		if err := rows.Scan(&u.ID, &u.Username, &u.Email, &created); err != nil {
			return nil, err
		}
		u.CreatedAt = created.Time
		page = append(page, u)
	}
	return page, rows.Err()
}

// add makes a user and returns the row.
func (s *store) add(ctx context.Context, username, email string) (user, error) {
	ctx, cancel := limited(ctx, queryTimeout)
	defer cancel()
	result, err := s.db.ExecContext(ctx, "INSERT INTO users (username, email) VALUES (?, ?)", username, email)
	if err != nil {
		return user{}, err
	}
	u := user{Username: username, Email: email}
	if u.ID, err = result.LastInsertId(); err != nil {
		return user{}, err
	}
	var created sql.NullTime
	err = s.db.QueryRowContext(ctx, "SELECT created_at FROM users WHERE id = ?", u.ID).Scan(&created)
	u.CreatedAt = created.Time
	return u, err
}

// serverReasons are the numbers of errors that a server refuses with.
var serverReasons = map[uint16]string{
	1040: "too many connections",
	1044: "access denied",
	1045: "access denied",
	1049: "unknown database",
	1130: "host not allowed",
	1146: "table missing",
	1203: "too many connections",
	1226: "too many connections",
	1698: "access denied",
	3159: "TLS required",
}

// reason names what is wrong with the database in words that tell where to look, and never with the error's own text,
// which may hold what nobody should see.
func reason(err error) string {
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		return cmp.Or(serverReasons[server.Number], "refused by the server")
	}
	var unknownAuthority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var lookup *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &unknownAuthority), errors.As(err, &hostname), errors.As(err, &invalid):
		return "certificate not trusted"
	case errors.As(err, &lookup):
		return "name not found"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.Is(err, mysql.ErrNoTLS):
		return "TLS not offered"
	case errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection lost"
	}
	return "not reachable"
}
