package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// settings are all that the program is told.
type settings struct {
	listen   string
	database *mysql.Config
}

// Deadlines of the database connection; a request has one of its own beside them.
const (
	dialTimeout  = 2 * time.Second
	queryTimeout = 5 * time.Second
)

// readSettings reads the environment and the credentials that systemd gives.
func readSettings(env func(string) string, readFile func(string) ([]byte, error)) (settings, error) {
	s := settings{listen: or(env("LISTEN"), "127.0.0.1:5000"), database: mysql.NewConfig()}
	address, err := netip.ParseAddrPort(s.listen)
	if err != nil || !address.Addr().IsLoopback() {
		return settings{}, fmt.Errorf(
			"LISTEN=%s: a loopback address and a port are needed, as in 127.0.0.1:5000",
			s.listen,
		)
	}
	credential := func(name string) ([]byte, error) {
		if env("CREDENTIALS_DIRECTORY") == "" {
			return nil, nil
		}
		text, readErr := readFile(filepath.Join(env("CREDENTIALS_DIRECTORY"), name))
		if errors.Is(readErr, fs.ErrNotExist) {
			return nil, nil
		}
		return text, readErr
	}
	password, err := credential("db_password")
	if err != nil {
		return settings{}, fmt.Errorf("read the credential db_password: %w", err)
	}
	d := s.database
	d.Net, d.Addr = "tcp", net.JoinHostPort(or(env("DB_HOST"), "127.0.0.1"), or(env("DB_PORT"), "3306"))
	d.DBName, d.User = or(env("DB_NAME"), "app"), or(env("DB_USER"), "app")
	d.Passwd = or(strings.TrimRight(string(password), "\n"), env("DB_PASSWORD"))
	d.Timeout, d.ReadTimeout, d.WriteTimeout = dialTimeout, queryTimeout, queryTimeout
	d.ParseTime, d.InterpolateParams, d.RejectReadOnly = true, true, true
	ca, err := credential("db_ca")
	if err != nil {
		return settings{}, fmt.Errorf("read the credential db_ca: %w", err)
	}
	d.TLS, err = tlsConfig(or(env("DB_TLS"), "off"), or(env("DB_HOST"), "127.0.0.1"), ca)
	return s, err
}

func tlsConfig(mode, host string, ca []byte) (*tls.Config, error) {
	switch mode {
	case "off":
		return nil, nil
	case "required":
		// Encrypted, and whoever answers is believed: for servers whose certificate nobody can verify.
		return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, nil
	case "verify":
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(ca) {
			return nil, errors.New(
				"DB_TLS=verify: the credential db_ca holds no certificate to verify the server's with",
			)
		}
		return &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}, nil
	}
	return nil, fmt.Errorf("DB_TLS=%s: one of off, required, verify is needed", mode)
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
