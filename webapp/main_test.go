package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

func TestReason(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "refused"},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, "timed out"},
		{context.DeadlineExceeded, "timed out"},
		{&mysql.MySQLError{Number: 1045}, "access denied"},
		{&mysql.MySQLError{Number: 1130}, "host not allowed"},
		{&mysql.MySQLError{Number: 1049}, "unknown database"},
		{&mysql.MySQLError{Number: 1146}, "table missing"},
		{x509.UnknownAuthorityError{}, "certificate not trusted"},
		{&net.DNSError{Name: "db", IsNotFound: true}, "name not found"},
		{os.NewSyscallError("connect", syscall.EHOSTUNREACH), "unreachable"},
		{mysql.ErrInvalidConn, "connection lost"},
		{errors.New("password=secret"), "not reachable"},
	} {
		if got := reason(fmt.Errorf("wrapped: %w", c.err)); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
}

func TestSettings(t *testing.T) {
	files := map[string]string{"/creds/db_password": "secret\n"}
	read := func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
	for _, c := range []struct {
		name  string
		env   map[string]string
		fault string
		check func(settings) bool
	}{
		{"defaults", nil, "", func(s settings) bool {
			return s.listen == "127.0.0.1:5000" && s.database.Addr == "127.0.0.1:3306"
		}},
		{
			"credential before environment",
			map[string]string{"CREDENTIALS_DIRECTORY": "/creds", "DB_PASSWORD": "other"},
			"",
			func(s settings) bool { return s.database.Passwd == "secret" },
		},
		{
			"environment",
			map[string]string{"DB_PASSWORD": "other", "DB_HOST": "10.0.2.10", "DB_PORT": "3307"},
			"",
			func(s settings) bool { return s.database.Passwd == "other" && s.database.Addr == "10.0.2.10:3307" },
		},
		{"every address", map[string]string{"LISTEN": "0.0.0.0:5000"}, "loopback", nil},
		{"no port", map[string]string{"LISTEN": "127.0.0.1"}, "loopback", nil},
		{"verify without an authority", map[string]string{"DB_TLS": "verify"}, "db_ca", nil},
		{"unknown mode", map[string]string{"DB_TLS": "maybe"}, "off, required, verify", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := readSettings(func(name string) string { return c.env[name] }, read)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v, want an error with %q", err, c.fault)
				}
				return
			}
			if err != nil || !c.check(s) {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
}

// TestGracefulEnd starts a slow request, has the program end, and wants the answer all the same; systemd is told.
func TestGracefulEnd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, finish := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		fmt.Fprint(w, "done")
	})
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, slog.New(slog.DiscardHandler), listener, slow) }()
	answer := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		answer <- string(text)
	}()
	<-began
	end()
	for _, want := range []string{"READY=1", "STOPPING=1"} {
		if err := told.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 64)
		n, err := told.Read(message)
		if err != nil || string(message[:n]) != want {
			t.Errorf("systemd was told %q, %v, want %q", message[:n], err, want)
		}
	}
	close(finish)
	if got := <-answer; got != "done" {
		t.Errorf("the request that was under way got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
