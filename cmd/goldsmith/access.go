package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
)

// howEntered is said in the help of each command that enters instances.
const howEntered = `The host key must be one that the instance printed on its console; no other is accepted. The database, which
has no public address, is reached through a web instance. The private key is ~/.goldsmith/STACK.pem, which the
first deployment made on its machine; to log in from another one, copy it there. Deploying needs no key.`

// wherever is a tier, or an instance's id.
var wherever = regexp.MustCompile(`^(db|web|i-[0-9a-f]{8,17})$`)

func checkWhere(name string) error {
	if !wherever.MatchString(name) {
		return &usageError{fmt.Errorf("%q: db, web or an instance's id is needed", name)}
	}
	return nil
}

// enter has OpenSSH do something with an instance, at the user's own terminal; arguments gets the name that OpenSSH
// knows it by.
func enter(cmd *cobra.Command, s *stack.Stack, name, program string, arguments func(host string) []string) error {
	return enterWith(cmd, s, name, program, arguments, plaintext.Behind(cmd.OutOrStdout()), plaintext.Behind(cmd.ErrOrStderr()))
}

func enterWith(cmd *cobra.Command, s *stack.Stack, name, program string, arguments func(host string) []string, out, complaints io.Writer) error {
	target, err := s.Find(cmd.Context(), name)
	if err != nil {
		return err
	}
	if err := s.CheckKey(cmd.Context()); err != nil {
		return fmt.Errorf("%s %s: %w", program, target.ID, err)
	}
	hops, err := s.Way(cmd.Context(), target)
	if err != nil {
		return err
	}
	if err := access.OpenSSH(cmd.Context(), hops, program, arguments(target.ID), cmd.InOrStdin(), out, complaints); err != nil {
		return fmt.Errorf("%s %s: %w", program, target.ID, err)
	}
	return nil
}

func sshCommand() *cobra.Command {
	var a account
	ssh := &cobra.Command{
		Use: "ssh db|web|ID [-- COMMAND...]", Short: "Log in to an instance, or run a command on it",
		Long: `Logs in to the instance that serves a tier, or to another one by its id. Several words after the instance are a
command and its arguments, which get there as they are here; a single one is a text for the shell there.

` + howEntered + `

Exit codes: 0 done; 1 failed; 2 bad input; else that of the command on the instance, 255 where there was no way in.`,
		Example: `  goldsmith ssh web
  goldsmith ssh db -- sudo mysql --execute 'SHOW PROCESSLIST'
  goldsmith ssh web 'df --human-readable / | tail -1'`,
		Args: atLeast(1, "db, web or an instance's id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkWhere(args[0]); err != nil {
				return err
			}
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			return enter(cmd, s, args[0], "ssh", func(host string) []string { return access.Command(host, args[1:]...) })
		},
	}
	a.flags(ssh)
	return ssh
}

// atLeast wants so many arguments.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return &usageError{fmt.Errorf("%s: %s is needed\nhint: %s --help", cmd.Name(), what, cmd.CommandPath())}
		}
		return nil
	}
}

func scpCommand() *cobra.Command {
	var a account
	var recursive bool
	scp := &cobra.Command{
		Use: "scp SOURCE... TARGET", Short: "Copy files to an instance, or from it",
		Long: `Copies files from or to one instance, whose paths are written as web:PATH, db:PATH or ID:PATH. It is done
as the user that one logs in as, who may read the logs; a file of root's comes by another way:
goldsmith ssh web -- sudo cat PATH >FILE

` + howEntered + `

Exit codes: 0 done; 2 bad input; else that of scp, which is 1 or 255.`,
		Example: "  goldsmith scp web:/var/log/nginx/error.log .\n  goldsmith scp -r ./dump db:/tmp/",
		Args:    atLeast(2, "a source and a target"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := remoteOf(args)
			if err != nil {
				return &usageError{err}
			}
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			return enter(cmd, s, name, "scp", func(host string) []string { return scpArguments(args, name, host, recursive) })
		},
	}
	a.flags(scp)
	scp.Flags().BoolVarP(&recursive, "recursive", "r", false, "directories too")
	return scp
}

// remoteOf is the instance that is named in the arguments of scp.
func remoteOf(args []string) (string, error) {
	found := ""
	for _, arg := range args {
		name, _, ok := strings.Cut(arg, ":")
		if !ok || !wherever.MatchString(name) {
			continue
		}
		if found != "" && found != name {
			return "", fmt.Errorf("scp: %s and %s are both on instances; one of them should be here", found, name)
		}
		found = name
	}
	if found == "" {
		return "", errors.New("scp: no path is on an instance; one should be written as web:PATH, db:PATH or ID:PATH")
	}
	return found, nil
}

// scpArguments names the instance as OpenSSH knows it. A path of this machine is not taken for an option, nor for a host.
func scpArguments(args []string, name, host string, recursive bool) []string {
	var list []string
	if recursive {
		list = append(list, "-r")
	}
	list = append(list, "--")
	for _, arg := range args {
		if path, ok := strings.CutPrefix(arg, name+":"); ok {
			list = append(list, host+":"+path)
		} else if filepath.IsAbs(arg) {
			list = append(list, arg)
		} else {
			list = append(list, "./"+arg)
		}
	}
	return list
}

// Sources of logs, by tier; the first is the default.
var logSources = map[string][]string{"db": {"journal", "mysql"}, "web": {"journal", "nginx", "app"}}

func logsCommand() *cobra.Command {
	var a account
	var source, since string
	var lines int
	var follow bool
	logs := &cobra.Command{
		Use: "logs db|web", Short: "Show an instance's logs",
		Long: `Shows the end of a log of the instance that serves a tier:
  journal  everything that systemd's journal has (both tiers; the default)
  mysql    the error log of the database server (db)
  nginx    Nginx's access and error logs (web)
  app      what the web app says (web)

` + howEntered + `

Exit codes: 0 done; 1 failed; 2 bad input; else that of the command on the instance, 255 where there was no way in.`,
		Example: "  goldsmith logs web --source nginx --follow\n  goldsmith logs db --since '10 minutes ago'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := logCommand(args[0], source, since, lines, follow)
			if err != nil {
				return &usageError{err}
			}
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			// A log may hold what a stranger sent: it must not steer the terminal. A file or a program gets its bytes.
			out, complaints := cmd.OutOrStdout(), cmd.ErrOrStderr()
			if file, ok := plaintext.Behind(out).(*os.File); ok && !term.IsTerminal(int(file.Fd())) {
				out = file
			}
			err = enterWith(cmd, s, args[0], "ssh", func(host string) []string { return access.Command(host, command) }, out, complaints)
			if follow && cmd.Context().Err() != nil { // which is how one stops following
				return nil
			}
			return err
		},
	}
	a.flags(logs)
	f := logs.Flags()
	f.StringVar(&source, "source", "", "journal, mysql, nginx or app (default: journal)")
	f.StringVar(&since, "since", "", "of the journal and the app: not what is older, in the words of journalctl")
	f.IntVarP(&lines, "lines", "n", 100, "how many lines at most")
	f.BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	return logs
}

// logCommand is what is run on an instance to show a log.
func logCommand(tier, source, since string, lines int, follow bool) (string, error) {
	of := logSources[tier]
	if of == nil {
		return "", fmt.Errorf("logs %s: db or web is needed", tier)
	}
	if source = cmp.Or(source, of[0]); !strings.Contains(" "+strings.Join(of, " ")+" ", " "+source+" ") {
		return "", fmt.Errorf("logs %s --source %s: it has %s", tier, source, strings.Join(of, ", "))
	}
	if lines < 1 {
		return "", fmt.Errorf("logs --lines %d: at least 1 is needed", lines)
	}
	number := strconv.Itoa(lines)
	switch source {
	case "mysql", "nginx":
		if since != "" {
			return "", fmt.Errorf("logs --since: files know no such time; it goes with the journal and the app")
		}
		command := "tail --lines=" + number
		if follow {
			command += " --follow=name --retry"
		}
		files := map[string]string{"mysql": "/var/log/mysql/error.log", "nginx": "/var/log/nginx/*.log"}[source]
		return "sudo -n sh -c '" + command + " " + files + "'", nil
	}
	command := "sudo -n journalctl --no-pager --lines=" + number
	if source == "app" {
		command += " --unit=goldsmith-webapp.service"
	}
	if since != "" {
		command += " --since=" + access.Quoted(since)
	}
	if follow {
		command += " --follow"
	}
	return command, nil
}

func openCommand() *cobra.Command {
	var a account
	var browser bool
	open := &cobra.Command{
		Use: "open", Short: "Print where the page is, or open it in a browser", Args: cobra.NoArgs,
		Long: `Prints the page's URL, and the SHA-256 of the certificate that the instance behind it made and reported on its
console: a browser that warns of it shows the same digest. With --browser it is opened, by xdg-open.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith open\n  curl --insecure $(goldsmith open --stack golden | head -1)health",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			url, fingerprint, err := s.Page(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), url)
			if fingerprint != "" {
				fmt.Fprintln(cmd.OutOrStdout(), "certificate (made by the instance): sha256 "+fingerprint)
			}
			if !browser {
				return nil
			}
			return browse(cmd.Context(), url)
		},
	}
	a.flags(open)
	open.Flags().BoolVar(&browser, "browser", false, "open it in a browser, too")
	return open
}

// browse opens a page in a browser. The exit code of xdg-open is not passed on, and so its error not wrapped: its 3 is no
// call for a person.
func browse(ctx context.Context, url string) error {
	out, err := exec.CommandContext(ctx, "xdg-open", url).CombinedOutput()
	if err == nil {
		return nil
	}
	said, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("open %s by xdg-open: %v: %s\nhint: open it in a browser yourself", url, err, said)
}
