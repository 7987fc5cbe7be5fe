// Command webapp is the web tier's application: a page and a small API over the users in the database of the private
// tier. It listens on loopback, behind a web server that terminates TLS, and is configured by its environment and by
// systemd credentials:
//
//	LISTEN   a loopback address and a port; 127.0.0.1:5000 by default
//	DB_HOST, DB_PORT, DB_NAME, DB_USER
//	DB_TLS   off, required (encrypted), or verify (and the server's certificate verified with the credential db_ca)
//	DB_PASSWORD, if there is no credential db_password
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// drain is how long requests under way may take once the program was told to end.
const drain = 20 * time.Second

// heapGrowth is how far the heap may grow between collections, in per cent. What is alive is some megabytes, so with
// Go's own value they would come many times a second under load, for memory that no instance is short of.
const heapGrowth = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(log); err != nil {
		log.Error("the application ends", "error", err.Error())
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	configured, err := readSettings(os.Getenv, os.ReadFile)
	if err != nil {
		return err
	}
	users, err := openStore(configured)
	if err != nil {
		return err
	}
	defer users.close()
	listener, err := net.Listen("tcp", configured.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return serve(ctx, log, listener, newHandler(log, users))
}

// serve answers until ctx ends and then lets requests under way end.
func serve(ctx context.Context, log *slog.Logger, listener net.Listener, app http.Handler) error {
	server := &http.Server{
		Handler:           app,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	log.Info("listening", "address", listener.Addr().String())
	if err := notify("READY=1"); err != nil {
		return err
	}
	go watchdog(ctx)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	log.Info("ending")
	if err := notify("STOPPING=1"); err != nil {
		log.Warn("tell systemd", "error", err.Error())
	}
	soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(soon); err != nil {
		return errors.Join(fmt.Errorf("let requests end: %w", err), server.Close())
	}
	return nil
}
