// Package sshtest is an SSH server inside the process of a test: with public keys, terminals, signals, SFTP, and
// connections that go on to other servers. What a command does is up to the test. It listens on loopback only.
package sshtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Server is a server that a test has started.
type Server struct {
	Host string
	Port int
	// HostKey is its public key as ssh(1) writes it.
	HostKey string

	root  string
	run   func(*Session)
	mu    sync.Mutex
	conns []net.Conn
}

// Session is a command, or a shell, that a client wants to run.
type Session struct {
	// Command is empty for a shell.
	Command string
	// Terminal is nil where there is none.
	Terminal *Terminal
	In       io.Reader
	Out      io.Writer
	Err      io.Writer
	// Signals are those that the client sends.
	Signals chan string
	// Resized are the sizes that the client's terminal has later on.
	Resized chan [2]int

	channel ssh.Channel
}

// Terminal is the type and the size of the client's terminal.
type Terminal struct {
	Kind   string
	Width  int
	Height int
}

// Exit ends the session with an exit status.
func (s *Session) Exit(status uint32) {
	_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

// Killed ends the session as a signal does.
func (s *Session) Killed(signal string) {
	_, _ = s.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Signal   string
		Core     bool
		Message  string
		Language string
	}{Signal: signal}))
}

// Shell runs the session's command by this machine's shell.
func (s *Session) Shell() {
	cmd := exec.Command("sh", "-c", s.Command)
	cmd.Stdout, cmd.Stderr = s.Out, s.Err
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.Exit(127)
		return
	}
	go func() { // the command ends without waiting for the end of its input
		_, _ = io.Copy(in, s.In)
		in.Close()
	}()
	_ = cmd.Wait()
	s.Exit(uint32(cmd.ProcessState.ExitCode()))
}

// Start starts a server that lets a user in who has the key. SFTP begins in the directory root; a command is run by
// run.
func Start(t testing.TB, user string, key ssh.PublicKey, root string, run func(*Session)) *Server {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hostKey, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(conn ssh.ConnMetadata, given ssh.PublicKey) (*ssh.Permissions, error) {
			if conn.User() == user && bytes.Equal(given.Marshal(), key.Marshal()) {
				return nil, nil
			}
			return nil, ssh.ErrNoAuth
		},
	}
	config.AddHostKey(hostKey)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	s := &Server{
		Host:    address.IP.String(),
		Port:    address.Port,
		HostKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hostKey.PublicKey()))),
		root:    root,
		run:     run,
	}
	t.Cleanup(func() {
		listener.Close()
		s.Break()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			go s.Serve(conn, config)
		}
	}()
	return s
}

// Break ends all connections, as a machine does that loses its power.
func (s *Server) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		conn.Close()
	}
}

// Serve serves one connection.
func (s *Server) Serve(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for channel := range channels {
		switch channel.ChannelType() {
		case "session":
			go s.session(channel)
		case "direct-tcpip":
			go forward(channel)
		default:
			_ = channel.Reject(ssh.UnknownChannelType, "")
		}
	}
}

// forward connects a client to another server by way of this one.
func forward(wanted ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(wanted.ExtraData(), &to); err != nil {
		_ = wanted.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		_ = wanted.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer conn.Close()
	channel, requests, err := wanted.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	go func() {
		_, _ = io.Copy(channel, conn)
		channel.Close()
	}()
	_, _ = io.Copy(conn, channel)
}

// session serves a session until it has ended.
func (s *Server) session(wanted ssh.NewChannel) {
	channel, requests, err := wanted.Accept()
	if err != nil {
		return
	}
	session := &Session{
		In:      channel,
		Out:     channel,
		Err:     channel.Stderr(),
		Signals: make(chan string, 16),
		Resized: make(chan [2]int, 16),
		channel: channel,
	}
	for request := range requests {
		session.take(s, request)
	}
}

func (s *Session) take(server *Server, request *ssh.Request) {
	var payload struct {
		Kind   string
		Width  uint32
		Height uint32
		Pixels [8]byte
		Modes  string
	}
	var size struct{ Width, Height, X, Y uint32 }
	var text struct{ Value string }
	// What cannot be read is empty, which the test then finds.
	switch request.Type {
	case "pty-req":
		_ = ssh.Unmarshal(request.Payload, &payload)
		s.Terminal = &Terminal{
			Kind:   payload.Kind,
			Width:  int(payload.Width),
			Height: int(payload.Height),
		}
	case "window-change":
		_ = ssh.Unmarshal(request.Payload, &size)
		s.Resized <- [2]int{int(size.Width), int(size.Height)}
	case "signal":
		_ = ssh.Unmarshal(request.Payload, &text)
		s.Signals <- text.Value
	case "exec", "shell":
		_ = ssh.Unmarshal(request.Payload, &text)
		s.Command = text.Value
	}
	// The answer comes before the command's end can close the channel.
	if request.WantReply {
		_ = request.Reply(request.Type != "env", nil)
	}
	switch request.Type {
	case "exec", "shell":
		go func() {
			defer s.channel.Close()
			server.run(s)
		}()
	case "subsystem":
		go s.Files(server.root)
	}
}

// Files serves SFTP.
func (s *Session) Files(root string) {
	defer s.channel.Close()
	server, err := sftp.NewServer(s.channel, sftp.WithServerWorkingDirectory(root))
	if err != nil {
		return
	}
	_ = server.Serve()
	server.Close()
}
