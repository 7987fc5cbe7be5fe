// Package daemon is a running local cloud: it opens the host's part, starts the EC2 API's server, brings back what
// users made, and serves until it is told to end. It also starts and ends such a process from another one.
//
// One process serves one cloud. It has a mount namespace of its own, so whatever way it ends, the kernel takes its
// mounts and namespaces down.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/endpoint"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/manners"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/servicemodel"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/trail"
)

// Config has the settings of Serve.
type Config struct {
	// Name is the cloud's name.
	Name string
	// Bases are the Debian releases to launch from, trixie, bookworm or sid, beside those that the cloud already has.
	Bases []string
	// Manners are those that it comes up with.
	Manners manners.Setting
	// Progress is called with a line for people while the cloud comes up, from several goroutines.
	Progress func(string)
	// Ready is called once it serves.
	Ready func()
}

// Where all clouds of this machine live. Tests have places of their own.
var (
	stateRoot = "/var/lib/goldsmith"
	cacheRoot = "/var/cache/goldsmith"
	runRoot   = "/run/goldsmith"
)

// hostConfig says where a cloud of this name lives. No path is made of what is no name.
func hostConfig(name string) (host.Config, error) {
	if err := host.CheckName(name); err != nil {
		return host.Config{}, err
	}
	return host.Config{
		Name:     name,
		StateDir: filepath.Join(stateRoot, name),
		CacheDir: cacheRoot,
		RunDir:   filepath.Join(runRoot, name),
	}, nil
}

// LogPath is the log of a cloud's daemon.
func LogPath(name string) (string, error) {
	config, err := hostConfig(name)
	return logPath(config), err
}

func logPath(config host.Config) string { return filepath.Join(config.StateDir, "log") }

// Trail reads the calls that a cloud was asked for, up or not, the oldest first.
func Trail(name string, since time.Time) (iter.Seq2[trail.Event, error], error) {
	config, err := hostConfig(name)
	if err != nil {
		return nil, err
	}
	return trail.Read(config.StateDir, since), nil
}

// shutdown is how long requests under way may take once the daemon was told to end.
const shutdown = 10 * time.Second

// Serve brings the cloud up and serves it until ctx ends. What users made is kept.
func Serve(ctx context.Context, c Config) (err error) {
	config, err := hostConfig(c.Name)
	if err != nil {
		return err
	}
	unix.Umask(0o022) // what is made has the mode that is asked for, whoever started this
	// All users may see which clouds there are and which addresses they have, and nothing of what is in them.
	if err = errors.Join(os.MkdirAll(stateRoot, 0o755), os.Chmod(stateRoot, 0o755)); err != nil {
		return err
	}
	if err = os.MkdirAll(config.StateDir, 0o700); err != nil {
		return err
	}
	unlock, err := lockDaemon(c.Name)
	if err != nil {
		return err
	}
	defer unlock()
	log, err := openLog(logPath(config))
	if err != nil {
		return err
	}
	defer log.Close()
	config.Log = slog.New(slog.NewTextHandler(log, nil))
	config.Log.Info("starting", "cloud", c.Name, "pid", os.Getpid())
	defer func() {
		if err != nil {
			config.Log.Error("ended", "error", err)
		}
	}()
	h, err := host.Open(ctx, config)
	if err != nil {
		return err
	}
	d := &daemon{
		config:   c,
		log:      config.Log,
		host:     h,
		stateDir: config.StateDir,
		runDir:   config.RunDir,
	}
	d.manners.Set(c.Manners)
	err = d.run(ctx)
	config.Log.Info("shutting down")
	return errors.Join(err, h.Close(context.WithoutCancel(ctx)))
}

type daemon struct {
	config           Config
	log              *slog.Logger
	host             *host.Host
	stateDir, runDir string
	manners          manners.Manners
	ready            readyFile
}

func (d *daemon) run(ctx context.Context) error {
	if err := d.makeBases(ctx); err != nil {
		return err
	}
	files, err := moto.Files()
	if err != nil {
		return err
	}
	backend, err := d.host.RunAPIServer(ctx, moto.Environment(), files)
	if err != nil {
		return err
	}
	key, err := operatorKey(d.stateDir)
	if err != nil {
		return fmt.Errorf("make the operator's access key: %w", err)
	}
	calls, err := trail.Open(d.stateDir, d.log)
	if err != nil {
		return err
	}
	defer calls.Close()
	// What goes on after an answer, and what waits for machines' ends, stops before the API server does.
	ctx, cancel := context.WithCancelCause(ctx)
	models := servicemodel.New(filepath.Join(backend.Root(), servicemodel.Dir))
	server := endpoint.New(endpoint.Config{
		StateDir: d.stateDir,
		Public:   d.host.Addresses().PublicPrefix,
		Operator: d.host.Addresses().Operator,
		Key:      key,
		Dial:     backend.DialContext,
		Manners:  &d.manners,
		Models:   models,
		Trail:    calls,
		Log:      d.log,
	}, d.host)
	defer func() {
		cancel(nil)
		if err := errors.Join(server.Close(), backend.Close()); err != nil {
			d.log.Error("close the API", "error", err)
		}
	}()
	if err := server.Start(ctx); err != nil {
		return err
	}
	go func() {
		if err := models.Load(); err != nil {
			d.log.Error("calls cannot be checked", "error", err)
		}
	}()
	go func() {
		select {
		case <-backend.Done():
			cancel(errors.New("moto has ended by itself; see api.log"))
		case <-ctx.Done():
		}
	}()
	return d.serve(ctx, server)
}

// makeBases makes what has to be there once on this host: the root of the API server, and the base images that are
// asked for or that the cloud had before.
func (d *daemon) makeBases(ctx context.Context) error {
	wanted := slices.Clone(d.config.Bases)
	for name, image := range moto.BaseImages {
		if slices.Contains(d.host.Images(), image.ID) && !slices.Contains(wanted, name) {
			wanted = append(wanted, name)
		}
	}
	making, within := errgroup.WithContext(ctx)
	making.Go(func() error { return d.host.EnsureBase(within, "moto", d.say) })
	for _, name := range wanted {
		making.Go(func() error { return d.addBase(within, name, d.say) })
	}
	return making.Wait()
}

// addBase makes a base image, if it is not there, and launchable.
func (d *daemon) addBase(ctx context.Context, name string, say func(string)) error {
	image, ok := moto.BaseImages[name]
	if !ok {
		known := slices.Sorted(maps.Keys(moto.BaseImages))
		return fmt.Errorf("base image %q: there is none of that name; there are %s", name, strings.Join(known, " and "))
	}
	if err := d.host.EnsureBase(ctx, name, say); err != nil {
		return err
	}
	return d.host.ImportBase(image.ID, name)
}

func (d *daemon) say(line string) {
	d.log.Info(line)
	d.config.Progress(line)
}

// serve answers on the host's address, on the one that machines use, and on the control socket, until ctx ends.
func (d *daemon) serve(ctx context.Context, server *endpoint.Server) error {
	addresses := d.host.Addresses()
	ends := []end{
		{"API calls", server.Handler(endpoint.Operators, addresses.API), func() (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, "tcp", addresses.API.String())
		}},
		{"the machines' API calls", server.Handler(endpoint.Machines, addresses.InetAPI), func() (net.Listener, error) {
			return d.host.ListenInet(ctx, addresses.InetAPI)
		}},
		{"commands", d.control(), func() (net.Listener, error) { return net.Listen("unix", controlPath(d.runDir)) }},
	}
	var serving errgroup.Group
	var stops []func()
	failure := func() error {
		for _, e := range ends {
			listener, err := e.listen()
			if err != nil {
				return fmt.Errorf("listen for %s: %w", e.what, err)
			}
			web := &http.Server{
				Handler:           e.handler,
				ReadHeaderTimeout: 10 * time.Second,
				IdleTimeout:       2 * time.Minute,
				ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelError),
			}
			serving.Go(func() error { return ignoreClosed(web.Serve(listener)) })
			stops = append(stops, func() { d.shutDown(context.WithoutCancel(ctx), web) })
		}
		return d.ready.begin(d.runDir, Running{
			PID:      os.Getpid(),
			Endpoint: "http://" + addresses.API.String(),
			Since:    time.Now().UTC(),
			Manners:  d.manners.Setting().String(),
		})
	}()
	if failure == nil {
		d.config.Ready()
		d.log.Info("ready")
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			failure = cause
		}
	}
	for _, shut := range stops {
		shut()
	}
	return errors.Join(failure, serving.Wait())
}

// end is an address where something is served.
type end struct {
	what    string
	handler http.Handler
	listen  func() (net.Listener, error)
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// shutDown lets requests under way end, for a while.
func (d *daemon) shutDown(ctx context.Context, web *http.Server) {
	ctx, cancel := context.WithTimeout(ctx, shutdown)
	defer cancel()
	if err := web.Shutdown(ctx); err != nil {
		d.log.Warn("requests were cut off", "error", err)
		web.Close()
	}
}

// openLog appends to the log; one that has grown large is kept as the previous one.
func openLog(path string) (*os.File, error) {
	const large = 10 << 20
	if info, err := os.Stat(path); err == nil && info.Size() > large {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}
